# Copyright 2026 the sqz_perception authors
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.
#
# SPDX-License-Identifier: Apache-2.0
"""The headers of BMP, PNM (PBM, PGM, PPM) and WebP."""

from __future__ import annotations

import re
import struct

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import FrameCorrupt, FrameEncodingUnknown
from sqz_perception.formats.header import Header

BMP_OS2, BMP_WINDOWS = 12, 40  # bytes of the headers, the second at least

PNM_BYTES = 1000  # in which the header must end
PNM_SPACE = rb'\s(?:\s|#[^\n\r]*[\n\r])*'  # OpenCV takes no comment right behind a number
PNM = re.compile(rb'P[1-6]' + PNM_SPACE + rb'(\d{1,9})' + PNM_SPACE + rb'(\d{1,9})\s')

WEBP_LOSSY = re.compile(rb'RIFF.{4}WEBPVP8 .{4}.{3}\x9d\x01\x2a(.{2})(.{2})', re.DOTALL)
WEBP_LOSSLESS = re.compile(rb'RIFF.{4}WEBPVP8L.{4}\x2f(.{4})', re.DOTALL)
WEBP_EXTENDED = re.compile(rb'RIFF.{4}WEBPVP8X\x0a\0\0\0(.).{3}(.{3})(.{3})', re.DOTALL)
WEBP_BYTES = 64  # in which the header ends
WEBP_SIDE = 2**14 - 1  # bits of a side
WEBP_ANIMATED = 0x02


def read_bmp(data: NDArray[np.uint8]) -> Header:
    """Return the header of a BMP. Raises a FrameError."""
    try:
        (size,) = struct.unpack_from('<I', data.data, 14)
        if size == BMP_OS2:
            width, height = struct.unpack_from('<HH', data.data, 18)
        elif size >= BMP_WINDOWS:
            width, height = struct.unpack_from('<ii', data.data, 18)
        else:
            raise FrameEncodingUnknown(f'a BMP with a header of {size} bytes is not supported')
    except struct.error as error:
        raise FrameCorrupt(f'a BMP of {len(data):,} bytes is cut off') from error
    return Header('BMP', abs(height), width, data)  # a negative height: the top row comes first


def read_pnm(data: NDArray[np.uint8]) -> Header:
    """Return the header of a PBM, PGM or PPM. Raises FrameCorrupt."""
    found = PNM.match(data[:PNM_BYTES].tobytes())
    if found is None:
        raise FrameCorrupt('a PNM whose header is damaged')
    width, height = map(int, found.groups())
    return Header('PNM', height, width, data)


def read_webp(data: NDArray[np.uint8]) -> Header:
    """Return the header of a WebP. Raises a FrameError."""
    start = data[:WEBP_BYTES].tobytes()
    if found := WEBP_LOSSY.match(start):
        width, height = (int.from_bytes(side, 'little') & WEBP_SIDE for side in found.groups())
    elif found := WEBP_LOSSLESS.match(start):
        sides = int.from_bytes(found[1], 'little')
        width, height = (sides & WEBP_SIDE) + 1, (sides >> 14 & WEBP_SIDE) + 1
    elif found := WEBP_EXTENDED.match(start):
        if found[1][0] & WEBP_ANIMATED:
            raise FrameEncodingUnknown('an animated WebP is not supported')
        width, height = (int.from_bytes(side, 'little') + 1 for side in found.groups()[1:])
    else:
        raise FrameCorrupt('a WebP whose header is damaged')
    return Header('WebP', height, width, data)
