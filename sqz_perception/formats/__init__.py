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
Check an encoded picture before OpenCV allocates memory for it, then decode it.

OpenCV believes the headers: a few bytes can claim gigabytes. ``inspect`` reads the claims of each
format, compares them with the data and with a limit on pixels, and returns the bytes that the
decoder may see. Nothing here knows where the bytes come from: callers add the remedy to the
messages.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameOversized,
)
from sqz_perception.formats.header import Header
from sqz_perception.formats.jpeg import read_jpeg
from sqz_perception.formats.png import read_png
from sqz_perception.formats.tiff import read_tiff
from sqz_perception.formats.uncommon import read_bmp, read_pnm, read_webp

Picture = NDArray[np.uint8]  # (rows, columns, 3), BGR
Reader = Callable[[NDArray[np.uint8]], Header]

JPEG: dict[bytes, Reader] = {b'\xff\xd8\xff': read_jpeg}
PNG: dict[bytes, Reader] = {b'\x89PNG\r\n\x1a\n': read_png}
# What a file's first bytes say about its format.
ALL: dict[bytes, Reader] = {
    **JPEG,
    **PNG,
    b'BM': read_bmp,
    b'RIFF': read_webp,
    b'II*\0': read_tiff,
    b'MM\0*': read_tiff,
    **{b'P%d' % number: read_pnm for number in range(1, 7)},
}
LONGEST = 8  # bytes of the longest beginning above


def inspect(data: NDArray[np.uint8], max_pixels: int, known: dict[bytes, Reader] = ALL) -> Header:
    """
    Return the header of the picture in ``data``, uint8 (bytes,), whose claims are checked.

    Raises FrameEncodingUnknown for other formats than ``known``, FrameEmpty, FrameOversized or
    FrameCorrupt.
    """
    start = data[:LONGEST].tobytes()
    reader = next((reader for magic, reader in known.items() if start.startswith(magic)), None)
    if reader is None:
        raise FrameEncodingUnknown(
            f'not a picture of a known format (it begins with 0x{start.hex()})'
        )
    header = reader(data)
    if header.height <= 0 or header.width <= 0:
        raise FrameEmpty(f'{header} has no pixels')
    if max(header.height * header.width, header.room) > max_pixels:
        raise FrameOversized(f'{header} exceeds {max_pixels:,} pixels')
    if header.height * header.width > header.possible:
        raise FrameCorrupt(f'{header} cannot fit in {len(data):,} bytes')
    return header


def decode(header: Header, flags: int) -> NDArray[np.uint8]:
    """
    Return the picture as cv2.imdecode does with ``flags``: uint8 (H, W, 3) in BGR, or (H, W).

    Raises FrameCorrupt.
    """
    try:
        picture = cv2.imdecode(header.data, flags)
    except (cv2.error, MemoryError) as error:
        raise FrameCorrupt(f'OpenCV cannot decode {header}: {reason(error)}') from error
    if picture is None:
        raise FrameCorrupt(f'{header} of {len(header.data):,} bytes is damaged')
    return np.asarray(picture, np.uint8)


def reason(error: Exception) -> str:
    """Return in one line why an operation failed."""
    text = getattr(error, 'strerror', None) or getattr(error, 'err', None) or str(error)
    return ' '.join(text.split()) or type(error).__name__
