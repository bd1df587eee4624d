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
A camera's message -> the small BGR picture that the network looks at.

Takes anything with the fields of sensor_msgs/Image or CompressedImage and needs no ROS. A message
is not believed: its claims are checked against its bytes, and whatever is wrong with it raises a
FrameError. ``encodings`` knows the encodings, ``compressed`` JPEG and PNG, ``resample`` the
resizing. Why not cv_bridge: docs/adr/0001-own-frame-conversion.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameOversized,
    FrameTruncated,
)
from sqz_perception.formats import reason
from sqz_perception.inference import compressed
from sqz_perception.inference.compressed import MAX_PIXELS
from sqz_perception.inference.encodings import ENCODINGS, Encoding, Frame
from sqz_perception.inference.resample import centre, shrink
from sqz_perception.model.network import InputSpec

MAX_TAIL = 4096  # bytes after the last row: V4L2 buffers are whole pages


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any  # a buffer of bytes: array.array('B'), bytes, memoryview, numpy.ndarray


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read."""

    format: str
    data: Any  # a buffer of bytes


def convert(
    msg: ImageMessage | CompressedImageMessage, spec: InputSpec, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Return ``from_image`` or ``from_compressed``, whichever the message is for."""
    if hasattr(msg, 'format'):
        return from_compressed(cast(CompressedImageMessage, msg), spec, max_pixels)
    return from_image(msg, spec, max_pixels)


def overview(
    msg: ImageMessage | CompressedImageMessage, longest: int, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """
    Return the whole of ``msg`` for people to look at, its longer side at most ``longest`` pixels.

    uint8 (rows, columns, 3), BGR. Raises a FrameError.
    """
    if hasattr(msg, 'format'):
        msg = cast(CompressedImageMessage, msg)
        picture = compressed.decode(_bytes(msg.data), msg.format, longest, max_pixels)
        with _named('the picture'):
            return fit(picture, _whole(picture.shape[0], picture.shape[1], longest))
    return from_image(msg, _whole(msg.height, msg.width, longest), max_pixels)


def from_image(
    msg: ImageMessage, spec: InputSpec, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """
    Return what ``spec`` shows the network of ``msg``: uint8 (spec.height, spec.width, 3), BGR.

    Raises FrameEncodingUnknown, FrameEmpty, FrameOversized, FrameTruncated or FrameCorrupt.
    """
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise FrameEncodingUnknown(
            f'the encoding {msg.encoding[:40]!r} is not supported; '
            f'set the camera to one of {", ".join(ENCODINGS)}'
        )
    frame = _frame(msg, encoding, max_pixels)
    with _named(_claim(msg)):
        return encoding.fit(frame, spec)


def from_compressed(
    msg: CompressedImageMessage, spec: InputSpec, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """
    Return what ``spec`` shows the network of ``msg``: uint8 (spec.height, spec.width, 3), BGR.

    Raises FrameEncodingUnknown, FrameEmpty, FrameOversized or FrameCorrupt.
    """
    picture = compressed.decode(_bytes(msg.data), msg.format, spec.resize, max_pixels)
    with _named('the picture'):
        return fit(picture, spec)


def fit(bgr: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """
    Return the centre of ``bgr``, uint8 (height, width, 3), as ``spec`` shows it the network.

    The result is contiguous, uint8 (spec.height, spec.width, 3), and shares no memory with
    ``bgr``. Raises FrameEmpty for a picture without pixels.
    """
    height, width = bgr.shape[:2]
    if height == 0 or width == 0:
        raise FrameEmpty(f'a picture of {width}x{height} pixels')
    return shrink(centre(height, width, spec).of(bgr), spec.height, spec.width)


def _whole(height: int, width: int, longest: int) -> InputSpec:
    """Return the spec that cuts nothing off a height x width picture."""
    scale = min(1.0, longest / max(height, width, 1))
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    return InputSpec(rows, columns, resize=min(rows, columns))


def _frame(msg: ImageMessage, encoding: Encoding, max_pixels: int) -> Frame:
    """Return the message as a frame whose bytes are all there, or raise a FrameError."""
    height, width, step = msg.height, msg.width, msg.step
    if height <= 0 or width <= 0:
        raise FrameEmpty(f'{_claim(msg)} has no pixels; check the camera driver')
    if height * width > max_pixels:
        raise FrameOversized(
            f'{_claim(msg)} exceeds {max_pixels:,} pixels; lower the resolution of the camera or '
            'raise max_pixels'
        )
    if height % encoding.even[0] or width % encoding.even[1]:
        raise FrameCorrupt(f'{_claim(msg)} needs an even size; set the camera to one')
    if step < encoding.row_bytes(width):
        raise FrameTruncated(
            f'{_claim(msg)} has rows of at least {encoding.row_bytes(width):,} bytes; '
            'the driver must set step'
        )
    data = _bytes(msg.data)
    rows = encoding.total_rows(height)
    if rows > height and len(data) == rows * encoding.row_bytes(width):
        step = encoding.row_bytes(width)  # drivers disagree about the step of two planes
    _check_length(msg, len(data), rows * step)
    return Frame(data, height, width, step, bool(msg.is_bigendian))


def _check_length(msg: ImageMessage, found: int, needed: int) -> None:
    if found < needed:
        raise FrameTruncated(
            f'{_claim(msg)} needs {needed:,} bytes, the message has {found:,}; '
            'check the camera driver and the transport'
        )
    if found > needed + MAX_TAIL:
        raise FrameOversized(
            f'{_claim(msg)} needs {needed:,} bytes, the message has {found:,}; '
            'its size can not be true, check the camera driver'
        )


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn the errors of OpenCV and NumPy into FrameCorrupt."""
    try:
        yield
    except (cv2.error, MemoryError) as error:
        raise FrameCorrupt(f'OpenCV cannot resize {what}: {reason(error)}') from error


def _claim(msg: ImageMessage) -> str:
    return f'{msg.encoding} {msg.width}x{msg.height} with step {msg.step}'


def _bytes(data: Any) -> NDArray[np.uint8]:
    """Return a view of a message's data, or raise FrameEmpty or FrameCorrupt."""
    try:
        view = memoryview(data).cast('B')
    except TypeError as error:
        raise FrameCorrupt(f'data is a {type(data).__name__}, not a buffer of bytes') from error
    if not len(view):
        raise FrameEmpty('the message has no data; check the camera driver')
    return np.frombuffer(view, np.uint8)
