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
The encodings of sensor_msgs/Image, and how a frame in each becomes a small BGR picture.

Resizing comes first and on the bytes as they are, colour after on the few pixels that are left:
for UYVY of 1280x720 pixels that takes half the time of the other order. Two kinds have to be
converted first, and then only in the part that will be seen: a Bayer mosaic, whose neighbours are
other colours, and YUV that is reduced less than twice, where its coarser colours would show.

YUV is ITU-R BT.601 in limited range, as in OpenCV and V4L2. Of 16 bits the value 65535 becomes
255 with rounding, as in cv_bridge: a camera that puts 12 bits in the low end looks dark in both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception.inference.resample import Window, centre, shrink, shrink_pairs
from sqz_perception.model.network import InputSpec

BAYER_MARGIN = 2  # pixels around the part that is seen, for the mosaic's neighbours
TO_BYTE = 255.0 / 65535.0

BLACK = 16  # the Y of black in limited range; less is as black
GREY = 128  # the U and V of grey
# (Y, V, U), less BLACK and GREY, to (B, G, R).
BT601 = np.array([[1.164, 0.0, 2.018], [1.164, -0.813, -0.391], [1.164, 1.596, 0.0]])
YVU_TO_BGR = np.column_stack([BT601, BT601 @ [-BLACK, -GREY, -GREY]])


@dataclass(frozen=True)
class Frame:
    """The bytes of a frame, already checked to be there."""

    data: NDArray  # (bytes,)
    height: int
    width: int
    step: int  # bytes from row to row of the first plane
    big_endian: bool = False

    def pixels(self, channels: int) -> NDArray:
        """Return a view of the frame: (height, width, channels)."""
        return self.view((self.height, self.width, channels), (self.step, channels, 1))

    def words(self, window: Window) -> NDArray:
        """Return the 16-bit values in ``window``: a view where this machine can read it as is."""
        order = '>u2' if self.big_endian else '<u2'
        words: NDArray = np.ndarray((self.height, self.width), order, self.data, 0, (self.step, 2))
        part = window.of(words)
        native = self.big_endian == (sys.byteorder == 'big')
        return part if native and part.flags.aligned else part.astype(np.uint16)

    def view(self, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> NDArray:
        """Return bytes of the frame as an array of ``shape``, from ``offset`` on."""
        return np.ndarray(shape, np.uint8, self.data, offset, strides)


@dataclass(frozen=True)
class Encoding:
    """What the bytes of an encoding are, and how they become a picture."""

    fit: Callable[[Frame, InputSpec], NDArray]
    pixel: int  # bytes of a pixel in a row of the first plane
    rows: tuple[int, int] = (1, 1)  # rows of all planes for each row of the picture, as a fraction
    even: tuple[int, int] = (1, 1)  # height and width must be multiples of these

    def row_bytes(self, width: int) -> int:
        return self.pixel * width

    def total_rows(self, height: int) -> int:
        return height * self.rows[0] // self.rows[1]


def _colour(frame: Frame, spec: InputSpec, channels: int, code: int | None) -> NDArray:
    window = centre(frame.height, frame.width, spec)
    small = shrink(window.of(frame.pixels(channels)), spec.height, spec.width)
    return small if code is None else cv2.cvtColor(small, code)


def _mono16(frame: Frame, spec: InputSpec) -> NDArray:
    words = frame.words(centre(frame.height, frame.width, spec))
    grey = cv2.convertScaleAbs(shrink(words, spec.height, spec.width), alpha=TO_BYTE)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


def _bayer(frame: Frame, spec: InputSpec, bits: int, code: int) -> NDArray:
    window = centre(frame.height, frame.width, spec)
    outer = window.grown(frame.height, frame.width, BAYER_MARGIN)
    if bits == 16:
        mosaic = cv2.convertScaleAbs(frame.words(outer), alpha=TO_BYTE)
    else:
        mosaic = outer.of(frame.pixels(1))
    bgr = cv2.cvtColor(mosaic, code)
    return shrink(window.within(outer).of(bgr), spec.height, spec.width)


def _packed(frame: Frame, spec: InputSpec, order: str, code: int) -> NDArray:
    """Fit two pixels in four bytes, whose places ``order`` tells: 'uyvy' or 'yuyv'."""
    if min(frame.height, frame.width) < 2 * spec.resize:
        return _converted(frame, spec, lambda part: cv2.cvtColor(part.of(frame.pixels(2)), code))
    pairs = frame.view((frame.height, frame.width // 2, 4), (frame.step, 4, 1))
    window = centre(frame.height, frame.width, spec, block=2)
    small = cv2.split(shrink_pairs(window.of(pairs, columns=2), spec.height, spec.width))
    first, u, second, v = small if order == 'yuyv' else (small[1], small[0], small[3], small[2])
    return _bgr(cv2.addWeighted(first, 0.5, second, 0.5, 0.0), v, u)


def _two_planes(
    frame: Frame, spec: InputSpec, order: str, shared: int, code: int | None
) -> NDArray:
    """Fit a plane of Y, then one of colours ('uv' or 'vu'), each for shared x shared pixels."""
    luma = frame.pixels(1)
    shape = (frame.height // shared, frame.width // shared, 2)
    colours = frame.view(shape, (2 * frame.step // shared, 2, 1), frame.height * frame.step)

    def planes(part: Window, height: int, width: int) -> NDArray:
        pair = cv2.split(part.of(colours, shared, shared))
        v, u = (shrink(plane, height, width) for plane in (pair if order == 'vu' else pair[::-1]))
        return _bgr(shrink(part.of(luma), height, width), v, u)

    def convert(part: Window) -> NDArray:
        if code is None:
            return planes(part, part.height, part.width)
        return cv2.cvtColorTwoPlane(part.of(luma), part.of(colours, shared, shared), code)

    if min(frame.height, frame.width) < 2 * spec.resize:
        return _converted(frame, spec, convert)
    return planes(centre(frame.height, frame.width, spec, shared), spec.height, spec.width)


def _converted(frame: Frame, spec: InputSpec, convert: Callable[[Window], NDArray]) -> NDArray:
    """Convert the part that is seen, then shrink it."""
    window = centre(frame.height, frame.width, spec)
    outer = window.grown(frame.height, frame.width, 0)
    return shrink(window.within(outer).of(convert(outer)), spec.height, spec.width)


def _bgr(y: NDArray, v: NDArray, u: NDArray) -> NDArray:
    """Join three planes of one size; ``y`` is used up."""
    return cv2.transform(cv2.merge([np.maximum(y, BLACK, out=y), v, u]), YVU_TO_BGR)


_MONO8 = Encoding(partial(_colour, channels=1, code=cv2.COLOR_GRAY2BGR), 1)
_MONO16 = Encoding(_mono16, 2)
_BGR8 = Encoding(partial(_colour, channels=3, code=None), 3)
_UYVY = Encoding(partial(_packed, order='uyvy', code=cv2.COLOR_YUV2BGR_UYVY), 2, even=(1, 2))
_YUYV = Encoding(partial(_packed, order='yuyv', code=cv2.COLOR_YUV2BGR_YUY2), 2, even=(1, 2))

# OpenCV names a mosaic after the second and third pixel of its second row, ROS after its corner.
MOSAICS = {
    'rggb': cv2.COLOR_BayerBG2BGR,
    'bggr': cv2.COLOR_BayerRG2BGR,
    'gbrg': cv2.COLOR_BayerGR2BGR,
    'grbg': cv2.COLOR_BayerGB2BGR,
}

ENCODINGS: dict[str, Encoding] = {
    'bgr8': _BGR8,
    'rgb8': Encoding(partial(_colour, channels=3, code=cv2.COLOR_RGB2BGR), 3),
    'bgra8': Encoding(partial(_colour, channels=4, code=cv2.COLOR_BGRA2BGR), 4),
    'rgba8': Encoding(partial(_colour, channels=4, code=cv2.COLOR_RGBA2BGR), 4),
    '8UC3': _BGR8,
    'mono8': _MONO8,
    '8UC1': _MONO8,
    'mono16': _MONO16,
    '16UC1': _MONO16,
    'uyvy': _UYVY,
    'yuv422': _UYVY,
    'yuyv': _YUYV,
    'yuv422_yuy2': _YUYV,
    'nv12': Encoding(
        partial(_two_planes, order='uv', shared=2, code=cv2.COLOR_YUV2BGR_NV12), 1, (3, 2), (2, 2)
    ),
    'nv21': Encoding(
        partial(_two_planes, order='vu', shared=2, code=cv2.COLOR_YUV2BGR_NV21), 1, (3, 2), (2, 2)
    ),
    'nv24': Encoding(partial(_two_planes, order='uv', shared=1, code=None), 1, (3, 1)),
    **{
        f'bayer_{pattern}{bits}': Encoding(partial(_bayer, bits=bits, code=code), bits // 8)
        for pattern, code in MOSAICS.items()
        for bits in (8, 16)
    },
}
