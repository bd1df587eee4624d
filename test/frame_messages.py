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
"""Camera messages and pictures for the tests of frames: no ROS, nothing from disk."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np

from sqz_perception.model.network import InputSpec

SQUEEZENET = InputSpec(227, 227, 256)
SMALL = InputSpec(32, 32, 32)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a BGR picture of soft coloured shapes with some texture on them."""
    rng = np.random.default_rng(seed)
    soft = rng.integers(30, 226, (7, 9, 3), np.uint8)
    shapes = cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = rng.integers(-6, 7, (height, width, 1))
    return np.clip(shapes + texture, 0, 255).astype(np.uint8)


def image(rows: np.ndarray, width: int, encoding: str, **fields: object) -> SimpleNamespace:
    """Return an Image of ``rows``, uint8 (rows of all planes, bytes), as rclpy would give it."""
    message = SimpleNamespace(
        height=rows.shape[0],
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=array.array('B', rows.tobytes()),
    )
    message.__dict__.update(fields)
    return message


def padded(rows: np.ndarray, columns: int) -> np.ndarray:
    """Return ``rows`` with ``columns`` bytes of rubbish after each."""
    return np.pad(rows, ((0, 0), (0, columns)), constant_values=0xA5)


def compressed(kind: str, bgr: np.ndarray) -> SimpleNamespace:
    """Return a CompressedImage of ``kind``, 'jpeg' or 'png'."""
    done, data = cv2.imencode('.jpg' if kind == 'jpeg' else '.png', bgr)
    assert done
    return SimpleNamespace(
        format=f'bgr8; {kind} compressed bgr8', data=array.array('B', data.tobytes())
    )


def crop(bgr: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the centre of ``bgr``."""
    top, left = (bgr.shape[0] - height) // 2, (bgr.shape[1] - width) // 2
    return bgr[top : top + height, left : left + width]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean absolute difference in grey levels."""
    return float(np.abs(a.astype(int) - b).mean())
