# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The bytes of a sensor_msgs/CompressedImage -> a BGR picture no larger than needed.

The header is read first: it tells how far a JPEG can be reduced while it is decoded, and refuses
a picture whose claims are absurd before OpenCV makes room for it. A JPEG is searched for its end
marker, because OpenCV 4.5.4 makes up whatever is missing and says nothing, and 4.14 still does
where the data was padded. That finds every JPEG cut short, also where a driver has filled the
rest with zeros; it does not find bytes that were changed inside the picture (JPEG has no
checksum) or an end marker that a driver added to half a picture. PNG has checksums, which the
decoder tests.
"""

from __future__ import annotations

import struct

import cv2
from numpy.typing import NDArray

from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameOversized,
)

MAX_PIXELS = 32 * 2**20  # of one frame, unless the caller sets another limit; 8K video fits
MAX_JPEG_SEGMENTS = 1000  # and fill bytes before the picture; a real file has some dozens

JPEG_START = b'\xff\xd8\xff'
JPEG_END = b'\xff\xd9'
JPEG_SCAN = 0xDA
JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, SOF0 to SOF15
JPEG_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers without a length
# A block of 8x8 pixels takes at least one bit, and a byte of zlib is at most 1032 bytes.
JPEG_PIXELS_PER_BYTE = 64 * 8
PNG_PIXELS_PER_BYTE = 1032 * 8

PNG_START = b'\x89PNG\r\n\x1a\n'
PNG_HEADER = struct.Struct('>8sI4sII')  # signature, length, 'IHDR', width, height
PNG_END = b'IEND'
PNG_TAIL = 4096  # bytes at the end in which the last chunk is looked for

REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


def decode(data: NDArray, name: str, short: int, max_pixels: int = MAX_PIXELS) -> NDArray:
    """
    Return the JPEG or PNG in ``data`` as uint8 (height, width, 3) in BGR.

    A JPEG comes reduced 2, 4 or 8 times where its short side stays at least ``short`` pixels.
    An orientation in its EXIF data is not applied: camera_info describes the sensor's picture.
    ``name`` is the message's format field, used only where the bytes do not tell. Raises a
    FrameError.
    """
    start = data[: len(PNG_START)].tobytes()
    if start.startswith(JPEG_START) and 'compresseddepth' not in name.lower():
        height, width = _jpeg_size(data)
        _check(height, width, len(data) * JPEG_PIXELS_PER_BYTE, max_pixels, 'JPEG')
        return _decoded(data, _jpeg_flag(min(height, width), short), 'JPEG')
    if start == PNG_START:
        height, width = _png_size(data)
        _check(height, width, len(data) * PNG_PIXELS_PER_BYTE, max_pixels, 'PNG')
        return _decoded(data, cv2.IMREAD_COLOR, 'PNG')
    raise _unknown(start, name)


def _unknown(start: bytes, name: str) -> FrameCorrupt | FrameEncodingUnknown:
    words = name.lower()
    if any(known in words for known in ('jpeg', 'jpg', 'png')) and 'depth' not in words:
        return FrameCorrupt(
            f'the format is {name[:60]!r}, but the data begins with 0x{start.hex()}; '
            'check the publisher'
        )
    return FrameEncodingUnknown(
        f'the compressed format {name[:60]!r} is not supported; publish JPEG or PNG'
    )


def _check(height: int, width: int, possible: int, max_pixels: int, kind: str) -> None:
    if height == 0 or width == 0:
        raise FrameEmpty(f'a {kind} of {width}x{height} pixels; check the publisher')
    if height * width > max_pixels:
        raise FrameOversized(
            f'a {kind} of {width}x{height} exceeds {max_pixels:,} pixels; lower the resolution of '
            'the camera or raise max_pixels'
        )
    if height * width > possible:
        raise FrameCorrupt(
            f'a {kind} of {width}x{height} pixels can not be in so few bytes; check the publisher'
        )


def _decoded(data: NDArray, flag: int, kind: str) -> NDArray:
    try:
        picture = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FrameCorrupt(f'OpenCV refuses the {kind}: {error.err}') from error
    if picture is None:
        raise FrameCorrupt(f'the {kind} of {len(data):,} bytes is damaged; check the transport')
    return picture


def _jpeg_flag(side: int, short: int) -> int:
    """Return cv2's flag for the largest reduction that leaves ``short`` of ``side`` pixels."""
    for factor, flag in REDUCTIONS:
        if -(-side // factor) >= short:
            return flag
    return cv2.IMREAD_COLOR


def _jpeg_size(data: NDArray) -> tuple[int, int]:
    """Return height and width of a JPEG that has all its parts, or raise FrameCorrupt."""
    view = data.data
    size = None
    position = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        if position + 4 > len(view) or view[position] != 0xFF:
            break
        marker = view[position + 1]
        if marker == JPEG_SCAN:
            return _ended(view, position, size)
        if marker == 0xFF or marker in JPEG_ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        segment = view[position + 2 : position + 2 + _word(view, position + 2)]
        if marker in JPEG_SIZES and len(segment) >= 8:
            size = (_word(segment, 3), _word(segment, 5))
        position += 2 + max(2, len(segment))
    raise FrameCorrupt(f'a JPEG of {len(data):,} bytes without a picture; check the transport')


def _ended(view: memoryview, scan: int, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is None:
        raise FrameCorrupt('a JPEG that does not tell its size; check the publisher')
    # In the picture's data 0xff is followed by 0 or a marker: only the end is written like this.
    if JPEG_END not in bytes(view[scan:]):
        raise FrameCorrupt(f'a JPEG cut off after {len(view):,} bytes; check the transport')
    return size


def _word(view: memoryview, position: int) -> int:
    return int(view[position]) << 8 | int(view[position + 1])


def _png_size(data: NDArray) -> tuple[int, int]:
    """Return height and width of a PNG that has its end, or raise FrameCorrupt."""
    if len(data) >= PNG_HEADER.size and PNG_END in data[-PNG_TAIL:].tobytes():
        _, length, kind, width, height = PNG_HEADER.unpack_from(data.data)
        if (length, kind) == (13, b'IHDR'):
            return height, width
    raise FrameCorrupt(f'a PNG of {len(data):,} bytes, cut off or damaged; check the transport')
