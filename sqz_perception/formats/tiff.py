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
The header of a TIFF: the first directory of the usual kinds.

libtiff knows many compressions, each a decoder of its own, and allocates whole strips and tiles.
Accepted is what cameras and programs write for pictures of up to 16 bits. Further pages are cut
off, because OpenCV counts them, and a picture whose strips are not all there is refused, because
OpenCV shows it with black parts.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import FrameCorrupt, FrameEncodingUnknown
from sqz_perception.formats.header import Header

WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES = 256, 257, 258, 259, 277
STRIP_ROWS, TILE_WIDTH, TILE_HEIGHT = 278, 322, 323
STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES = 273, 279, 324, 325
PARTS = frozenset((STRIP_OFFSETS, STRIP_BYTES, TILE_OFFSETS, TILE_BYTES))  # a value for each
READ = PARTS | {WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, STRIP_ROWS, TILE_WIDTH, TILE_HEIGHT}

COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946))  # none, LZW, deflate, PackBits, old deflate
DEPTHS = frozenset((1, 4, 8, 16))  # bits of a sample
MAX_SAMPLES = 4  # of a pixel
MAX_PARTS = 2**18  # strips or tiles
ALL_ROWS = 2**32 - 1  # in one strip
KINDS = {3: 'H', 4: 'I'}  # SHORT and LONG
MAX_ENTRIES = 500  # of the directory

Tags = dict[int, tuple[int, ...]]


def read_tiff(data: NDArray[np.uint8]) -> Header:
    """Return the header of a TIFF. Raises a FrameError."""
    order = '<' if data[0] == ord('I') else '>'
    try:
        tags, end = _directory(data.data, order)
        (pages,) = struct.unpack_from(f'{order}I', data.data, end)
        (height,), (width,) = tags[HEIGHT], tags[WIDTH]
    except (struct.error, KeyError, ValueError) as error:
        raise FrameCorrupt(f'a TIFF of {len(data):,} bytes is cut off or damaged') from error
    _check_kind(tags)
    _check_parts(tags, len(data))
    if pages:
        data = data.copy()
        data[end : end + 4] = 0
    return Header('TIFF', height, width, data, room=_room(tags, height, width))


def _directory(view: memoryview, order: str) -> tuple[Tags, int]:
    """Return the first directory's tags in ``READ``, and where it ends. Raises struct.error."""
    (start,) = struct.unpack_from(f'{order}I', view, 4)
    (count,) = struct.unpack_from(f'{order}H', view, start)
    if count > MAX_ENTRIES:
        raise FrameCorrupt(f'a TIFF of {count:,} tags')
    tags: Tags = {}
    end = start + 2 + 12 * count
    for place in range(start + 2, end, 12):
        tag, kind, values = struct.unpack_from(f'{order}HHI', view, place)
        if tag not in READ:
            continue
        most = MAX_PARTS if tag in PARTS else MAX_SAMPLES
        if tag in tags or kind not in KINDS or not 0 < values <= most:
            raise FrameCorrupt(f'a TIFF whose tag {tag} is damaged')
        form = struct.Struct(f'{order}{values}{KINDS[kind]}')
        value = place + 8
        if form.size > 4:
            (value,) = struct.unpack_from(f'{order}I', view, value)
        tags[tag] = form.unpack_from(view, value)
    return tags, end


def _check_kind(tags: Tags) -> None:
    packing, bits, samples = (max(tags.get(tag, (1,))) for tag in (COMPRESSION, BITS, SAMPLES))
    if packing not in COMPRESSIONS:
        raise FrameEncodingUnknown(f'a TIFF of the rare compression {packing} is not supported')
    if bits not in DEPTHS or not 0 < samples <= MAX_SAMPLES:
        raise FrameEncodingUnknown(f'a TIFF of {samples} samples of {bits} bits is not supported')


def _check_parts(tags: Tags, length: int) -> None:
    """Raise FrameCorrupt where a strip or a tile lies beyond the ``length`` of the data."""
    for offsets, sizes in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)):
        starts, counts = tags.get(offsets, ()), tags.get(sizes, ())
        if len(starts) != len(counts) or any(map(lambda a, b: a + b > length, starts, counts)):
            raise FrameCorrupt(f'a TIFF cut off after {length:,} bytes')


def _room(tags: Tags, height: int, width: int) -> int:
    """Return the pixels of a strip or a tile, for which memory is allocated."""
    rows = max(tags.get(STRIP_ROWS, (0,)))
    strip = height if rows in (0, ALL_ROWS) else rows
    return max(tags.get(TILE_WIDTH, (width,))) * max(tags.get(TILE_HEIGHT, (strip,)))
