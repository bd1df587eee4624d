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
The header of a JPEG.

The data is searched for its end marker, because OpenCV 4.5.4 invents whatever is missing without
a warning, and 4.14 still does where the data was padded. That finds every JPEG that was cut
short, also where a driver has filled the rest with zeros. It does not find bytes that were
changed inside the picture (JPEG has no checksum).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import FrameCorrupt, FrameEncodingUnknown
from sqz_perception.formats.header import Header

MAX_SEGMENTS = 1000  # and fill bytes before the picture; a real file has some dozens
MAX_SCANS = 32  # of a progressive picture; encoders write 10, of CMYK 18, and each costs time

END = b'\xff\xd9'
SCAN = 0xDA
SCAN_START = b'\xff\xda'
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame, SOF0 to SOF15
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers without a length
PIXELS_PER_BYTE = 64 * 8  # a block of 8x8 pixels takes at least one bit


def read_jpeg(data: NDArray[np.uint8]) -> Header:
    """Return the header of a JPEG that has all its parts. Raises a FrameError."""
    view = data.data
    frame: memoryview | None = None
    progressive = False
    position = 2
    for _ in range(MAX_SEGMENTS):
        if position + 4 > len(view) or view[position] != 0xFF:
            break
        marker = view[position + 1]
        if marker == 0xFF or marker in ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        segment = view[position + 2 : position + 2 + _word(view, position + 2)]
        if len(segment) < 3:
            break
        if marker == SCAN:
            return _header(data, position, frame, progressive)
        if marker in FRAMES:
            if frame is not None:
                raise FrameCorrupt('a JPEG with two sizes')
            frame, progressive = _frame(segment, marker), marker == PROGRESSIVE
        position += 2 + len(segment)
    raise FrameCorrupt(f'a JPEG of {len(data):,} bytes without a picture')


def _frame(segment: memoryview, marker: int) -> memoryview:
    if marker not in (BASELINE, EXTENDED, PROGRESSIVE):
        raise FrameEncodingUnknown(f'a JPEG of the rare kind SOF{marker - 0xC0} is not supported')
    if len(segment) < 8 or len(segment) != 8 + 3 * segment[7]:
        raise FrameCorrupt('a JPEG whose header is damaged')
    if segment[2] != 8:
        raise FrameEncodingUnknown(f'a JPEG of {segment[2]} bits a sample is not supported')
    return segment


def _header(
    data: NDArray[np.uint8], scan: int, frame: memoryview | None, progressive: bool
) -> Header:
    """Return the header of a JPEG whose first scan begins at ``scan``."""
    if frame is None:
        raise FrameCorrupt('a JPEG without a size')
    channels = frame[7]
    if progressive or data[scan + 4] < channels:
        data = _limited(data, scan)
    # In the picture's data 0xff is followed by 0 or a marker: only the end is written like this.
    elif data[scan:].tobytes().rfind(END) < 0:  # from the back, where it usually is
        raise _cut(data)
    return Header(
        *('JPEG', _word(frame, 3), _word(frame, 5), data),
        grey=channels == 1,
        possible=len(data) * PIXELS_PER_BYTE,
    )


def _limited(data: NDArray[np.uint8], scan: int) -> NDArray[np.uint8]:
    """Return a JPEG of several scans up to its first end marker, in which scans are counted."""
    scans = data[scan:].tobytes()
    end = scans.find(END)
    if end < 0:
        raise _cut(data)
    found = scans.count(SCAN_START, 0, end)
    if found > MAX_SCANS:
        raise FrameEncodingUnknown(f'a JPEG of {found:,} scans is not supported')
    return data[: scan + end + len(END)]


def _cut(data: NDArray[np.uint8]) -> FrameCorrupt:
    return FrameCorrupt(f'a JPEG cut off after {len(data):,} bytes')


def _word(view: memoryview, position: int) -> int:
    return int(view[position]) << 8 | int(view[position + 1])
