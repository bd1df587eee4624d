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
The bytes of a sensor_msgs/CompressedImage -> a BGR picture no larger than needed.

``formats`` checks the claims of the bytes before OpenCV allocates memory for them. The message's
format field decides what the decoded values mean. image_transport writes
``ENCODING; CODEC compressed TARGET``: the camera's encoding and what the picture was converted to
before it was compressed. Its own subscriber is followed:

- TARGET is bgr8 or bgr16: the picture is in colour as usual. mono8: it is grey as usual.
- TARGET is absent and ENCODING is a Bayer mosaic: the picture is the mosaic.
- TARGET is not bgr and ENCODING has red, green and blue: red and blue are swapped.
- ENCODING is signed or floating, or CODEC is compressedDepth: these are distances, no picture.
"""

from __future__ import annotations

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception import formats
from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameError,
    FrameOversized,
)
from sqz_perception.formats.header import Header
from sqz_perception.inference.encodings import MOSAICS

MAX_PIXELS = 32 * 2**20  # of one frame, unless the caller sets another limit; 8K video fits

KNOWN = {**formats.JPEG, **formats.PNG}
REMEDIES = {
    FrameCorrupt: 'check the publisher and the transport',
    FrameEmpty: 'check the publisher',
    FrameEncodingUnknown: 'publish plain JPEG or PNG',
    FrameOversized: 'lower the resolution of the camera or raise max_pixels',
}
REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
RED_GREEN_BLUE = re.compile(r'(rgb|bgr)a?(8|16)')
MOSAIC = re.compile(r'bayer_([a-z]{4})(8|16)')
DISTANCES = re.compile(r'(8S|16S|32S|32F|64F)C|.*compresseddepth', re.IGNORECASE)


def decode(
    data: NDArray[np.uint8], name: str, short: int, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """
    Return the JPEG or PNG in ``data`` as uint8 (height, width, 3) in BGR.

    A JPEG comes reduced 2, 4 or 8 times where its short side stays at least ``short`` pixels.
    An orientation in its EXIF data is not applied: camera_info describes the sensor's picture.
    ``name`` is the message's format field. Raises a FrameError, FrameOversized for more than
    ``max_pixels``.
    """
    code = _conversion(name)
    if not any(data[: len(start)].tobytes() == start for start in KNOWN):
        raise _unknown(data, name)
    try:
        header = formats.inspect(data, max_pixels, KNOWN)
        picture = formats.decode(header, _flags(header, name, code, short))
    except FrameError as error:
        raise type(error)(f'{error}; {REMEDIES[type(error)]}') from error
    return picture if code is None else np.asarray(cv2.cvtColor(picture, code), np.uint8)


def _conversion(name: str) -> int | None:
    """Return cv2's code that makes BGR of the decoded picture; None where it is BGR or grey."""
    encoding, separator, codec = name.partition(';')
    target = codec.partition('compressed')[2].strip()
    if DISTANCES.match(name):
        raise _unsupported(name)
    if target.startswith(('bgr', 'mono')):
        return None
    if encoding.startswith('bayer_'):
        mosaic = MOSAIC.fullmatch(encoding)
        if mosaic is None or mosaic[1] not in MOSAICS:
            raise _unsupported(name)
        return MOSAICS[mosaic[1]]
    return cv2.COLOR_RGB2BGR if separator and RED_GREEN_BLUE.fullmatch(encoding) else None


def _flags(header: Header, name: str, code: int | None, short: int) -> int:
    """Return cv2's flags for what is needed of a picture."""
    if code in MOSAICS.values():
        if not header.grey:
            raise FrameCorrupt(f'the format {name[:60]!r} is a mosaic, but the data has colours')
        return cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    side = min(header.height, header.width)
    flag = _reduced(side, short) if header.kind == 'JPEG' else cv2.IMREAD_COLOR
    return flag | cv2.IMREAD_IGNORE_ORIENTATION


def _reduced(side: int, short: int) -> int:
    """Return cv2's flag for the largest reduction that leaves ``short`` of ``side`` pixels."""
    for factor, flag in REDUCTIONS:
        if -(-side // factor) >= short:
            return flag
    return cv2.IMREAD_COLOR


def _unknown(data: NDArray[np.uint8], name: str) -> FrameError:
    if any(known in name.lower() for known in ('jpeg', 'jpg', 'png')):
        return FrameCorrupt(
            f'the format is {name[:60]!r}, but the data begins with 0x{data[:8].tobytes().hex()}; '
            'check the publisher'
        )
    return _unsupported(name)


def _unsupported(name: str) -> FrameEncodingUnknown:
    return FrameEncodingUnknown(
        f'the compressed format {name[:60]!r} is not supported; publish JPEG or PNG'
    )
