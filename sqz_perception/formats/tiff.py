# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The header of a TIFF: the first directory of the usual kinds.

libtiff knows many compressions, each a decoder of its own, and allocates whole strips and tiles.
What cameras and programs write for pictures of 8 or 16 bits is accepted. Further pages are cut
off.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import FrameCorrupt, FrameEncodingUnknown
from sqz_perception.formats.header import Header

WIDTH, HEIGHT, BITS, COMPRESSION = 256, 257, 258, 259
SAMPLES, STRIP_ROWS, TILE_WIDTH, TILE_HEIGHT = 277, 278, 322, 323
READ = frozenset((WIDTH, HEIGHT, BITS, COMPRESSION, SAMPLES, STRIP_ROWS, TILE_WIDTH, TILE_HEIGHT))
COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946))  # none, LZW, deflate, PackBits, old deflate
DEPTHS = frozenset((1, 4, 8, 16))  # bits of a sample
MAX_SAMPLES = 4  # of a pixel
SHORT, LONG = 3, 4  # types of a value
SIZES, CODES = {SHORT: 2, LONG: 4}, {SHORT: 'H', LONG: 'I'}
ALL_ROWS = 2**32 - 1
MAX_ENTRIES = 500  # of the directory


def read_tiff(data: NDArray[np.uint8]) -> Header:
    """Return the header of a TIFF. Raises a FrameError."""
    order = '<' if data[0] == ord('I') else '>'
    try:
        tags, end = _directory(data.data, order)
        pages = struct.unpack_from(f'{order}I', data.data, end)[0]
    except struct.error as error:
        raise FrameCorrupt(f'a TIFF of {len(data):,} bytes is cut off or damaged') from error
    if WIDTH not in tags or HEIGHT not in tags:
        raise FrameCorrupt('a TIFF without a size')
    _check_kind(tags)
    if pages:
        data = data.copy()
        data[end : end + 4] = 0
    return Header('TIFF', tags[HEIGHT], tags[WIDTH], data, room=_room(tags))


def _room(tags: dict[int, int]) -> int:
    """Return the pixels of a whole tile or strip, for which libtiff's callers allocate memory."""
    strip = tags.get(STRIP_ROWS, ALL_ROWS)
    rows = tags[HEIGHT] if strip in (0, ALL_ROWS) else strip
    return (tags.get(TILE_WIDTH) or tags[WIDTH]) * (tags.get(TILE_HEIGHT) or rows)


def _directory(view: memoryview, order: str) -> tuple[dict[int, int], int]:
    """Return the first directory's tags in ``READ``, and where it ends. Raises struct.error."""
    start = struct.unpack_from(f'{order}I', view, 4)[0]
    count = struct.unpack_from(f'{order}H', view, start)[0]
    if count > MAX_ENTRIES:
        raise FrameCorrupt(f'a TIFF of {count:,} tags')
    tags: dict[int, int] = {}
    for place in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f'{order}HHI', view, place)
        if tag not in READ:
            continue
        if tag in tags or kind not in (SHORT, LONG) or not 0 < values <= MAX_SAMPLES:
            raise FrameCorrupt(f'a TIFF whose tag {tag} is damaged')
        if values * SIZES[kind] > 4:
            place = struct.unpack_from(f'{order}I', view, place + 8)[0] - 8
        tags[tag] = max(struct.unpack_from(f'{order}{values}{CODES[kind]}', view, place + 8))
    return tags, start + 2 + 12 * count


def _check_kind(tags: dict[int, int]) -> None:
    if tags.get(COMPRESSION, 1) not in COMPRESSIONS:
        raise FrameEncodingUnknown(f'a TIFF of the rare compression {tags[COMPRESSION]}')
    if tags.get(BITS, 1) not in DEPTHS or not 0 < tags.get(SAMPLES, 1) <= MAX_SAMPLES:
        raise FrameEncodingUnknown(
            f'a TIFF of {tags.get(SAMPLES, 1)} samples of {tags.get(BITS, 1)} bits'
        )
