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
"""
The header of a PNG.

Only the chunks that make the picture reach the decoder. Texts, colour profiles and animations are
left out: some are compressed, so that a few kilobytes would cost seconds, and OpenCV uses none of
them for the pixels. PNG has checksums, which the decoder tests.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import FrameCorrupt, FrameEncodingUnknown
from sqz_perception.formats.header import Header

MAX_CHUNKS = 16384  # libpng writes 8 KiB in one, so that is 128 MiB

CHUNK = struct.Struct('>I4s')  # bytes of the data, kind; data and four bytes of checksum follow
AROUND = 12  # bytes of a chunk besides its data
SIZE = struct.Struct('>IIBB')  # width, height, bits of a sample, kind of colour
SIZE_BYTES = 13
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, for each kind of colour
GREYS = (0, 4)  # kinds of colour
ANCILLARY = 0x20  # a small first letter: not needed for the picture
ZLIB = 1032  # bytes that one byte of zlib can become


def read_png(data: NDArray[np.uint8]) -> Header:
    """Return the header of a PNG whose chunks are all there. Raises a FrameError."""
    parts, packed = _chunks(data.data)
    width, height, bits, colour = SIZE.unpack_from(parts[1], CHUNK.size)
    if colour not in SAMPLES:
        raise FrameEncodingUnknown(f'a PNG of the unknown kind of colour {colour}')
    whole = sum(map(len, parts)) == len(data)
    return Header(
        *('PNG', height, width),
        data if whole else np.frombuffer(b''.join(parts), np.uint8),
        grey=colour in GREYS,
        possible=packed * ZLIB * 8 // max(1, bits * SAMPLES[colour]),
    )


def _chunks(view: memoryview) -> tuple[list[memoryview], int]:
    """Return the signature and the chunks that make the picture, and the bytes of its pixels."""
    parts, packed, position = [view[:8]], 0, 8
    for _ in range(MAX_CHUNKS):
        if position + AROUND > len(view):
            break
        length, kind = CHUNK.unpack_from(view, position)
        if length > len(view) - position - AROUND:
            break
        end = position + AROUND + length
        if (kind == b'IHDR') != (len(parts) == 1) or (kind == b'IHDR' and length != SIZE_BYTES):
            raise FrameCorrupt('a PNG whose header is damaged')
        if not kind[0] & ANCILLARY:
            parts.append(view[position:end])
        if kind == b'IDAT':
            packed += length
        if kind == b'IEND':
            return parts, packed
        position = end
    else:
        raise FrameEncodingUnknown(f'a PNG of over {MAX_CHUNKS:,} chunks is not supported')
    raise FrameCorrupt(f'a PNG of {len(view):,} bytes is cut off or damaged')
