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
"""Encoded pictures that claim more than they hold, or cost more than they show, for tests."""

from __future__ import annotations

import struct
import zlib
from itertools import repeat

import cv2
import numpy as np

PNG_START = b'\x89PNG\r\n\x1a\n'
GREY, COLOUR, PALETTE, COLOUR_ALPHA = 0, 2, 3, 6  # kinds of PNG
SAMPLES = {GREY: 1, COLOUR: 3, PALETTE: 1, COLOUR_ALPHA: 4}
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)),
    *((1, 0, 2, 2), (0, 1, 1, 2)),
)


def encoded(suffix: str, picture: np.ndarray, *options: int) -> bytes:
    """Return ``picture`` as OpenCV writes it."""
    done, data = cv2.imencode(suffix, picture, options)
    assert done
    return data.tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack('>I', len(data)) + checked + struct.pack('>I', zlib.crc32(checked))


def png_header(
    width: int, height: int, bits: int = 8, kind: int = COLOUR, passes: int = 0
) -> bytes:
    return chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, passes))


def png_claiming(width: int, height: int, data: bytes = b'') -> bytes:
    """Return a PNG of ``data``, whatever its size."""
    body = chunk(b'IDAT', zlib.compress(data)) + chunk(b'IEND', b'')
    return PNG_START + png_header(width, height) + body


def black_png(
    width: int, height: int, bits: int = 8, kind: int = COLOUR, interlaced: bool = False
) -> bytes:
    """Return a whole PNG in very few bytes."""
    packer = zlib.compressobj(9)
    data = b''
    for columns, rows in _passes(width, height) if interlaced else [(width, height)]:
        row = bytes(1 + -(-columns * bits * SAMPLES[kind] // 8))
        data += b''.join(map(packer.compress, repeat(row, rows)))
    palette = chunk(b'PLTE', bytes(768)) if kind == PALETTE else b''
    body = palette + chunk(b'IDAT', data + packer.flush()) + chunk(b'IEND', b'')
    return PNG_START + png_header(width, height, bits, kind, int(interlaced)) + body


def _passes(width: int, height: int) -> list[tuple[int, int]]:
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in ADAM7]
    return [(columns, rows) for columns, rows in sizes if columns > 0 and rows > 0]


def with_chunks(png: bytes, chunks: bytes) -> bytes:
    """Return ``png`` with more chunks after its header."""
    place = len(PNG_START) + len(png_header(1, 1))
    return png[:place] + chunks + png[place:]


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack('>H', 2 + len(data)) + data


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """Return a grey JPEG of many scans, each of a few bytes."""
    blocks = -(-width // 8) * -(-height // 8)
    head = segment(0xDB, b'\0' + b'\x10' * 64)
    head += segment(0xC2, struct.pack('>BHHB', 8, height, width, 1) + b'\1\x11\0')
    head += segment(0xC4, b'\0' + bytes((1, *[0] * 15)) + b'\0')  # DC: '0', no difference
    head += segment(0xC4, b'\x10' + bytes((1, 1, *[0] * 14)) + b'\xe0\0')  # AC: runs of 2^14, 1
    runs, rest = divmod(blocks, 2**14)
    first = segment(0xDA, b'\1\1\0\0\0\0') + _packed('0' * blocks)
    again = segment(0xDA, b'\1\1\0\1\x3f\0') + _packed(('0' + '0' * 14) * runs + '10' * rest)
    return b'\xff\xd8' + head + first + again * (scans - 1) + b'\xff\xd9'


def _packed(bits: str) -> bytes:
    bits += '1' * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, 'big').replace(b'\xff', b'\xff\0')


def jpeg_claiming(jpeg: bytes, width: int, height: int) -> bytes:
    """Return ``jpeg`` with another size in its header."""
    place = jpeg.index(b'\xff\xc0') + 5
    return jpeg[:place] + struct.pack('>HH', height, width) + jpeg[place + 4 :]


def tiff(tags: dict[int, int], data: bytes = b'\0', next_page: int = 0) -> bytes:
    """Return a TIFF with ``tags``, each a LONG, and ``data`` as its only strip."""
    tags = {262: 1, 273: 8, 279: len(data), **tags}
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack('<H', len(tags)) + entries + struct.pack('<I', next_page)
    return b'II*\0' + struct.pack('<I', 8 + len(data)) + data + directory


def gif_claiming(width: int, height: int) -> bytes:
    """Return a GIF of 35 bytes with one pixel in a large screen."""
    screen = struct.pack('<HHBBB', width, height, 0x80, 0, 0) + bytes(6)
    image = b'\x2c' + struct.pack('<HHHHB', 0, 0, 1, 1, 0) + b'\x02\x02\x44\x01\0'
    return b'GIF89a' + screen + image + b';'
