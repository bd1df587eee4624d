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
"""Small pictures in classes, for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

COLORS = {'blue': (200, 40, 40), 'green': (40, 200, 40), 'red': (40, 40, 200)}  # BGR


def noisy_picture(bgr: tuple[int, int, int], seed: int, side: int = 32) -> NDArray[np.uint8]:
    """Return a picture of one colour with noise: uint8 (side, side, 3), BGR."""
    noise = np.random.default_rng(seed).normal(0, 30, (side, side, 3))
    return np.clip(np.array(bgr) + noise, 0, 255).astype(np.uint8)


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return ``picture`` as the bytes of a PNG file."""
    return cv2.imencode('.png', picture)[1].tobytes()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """Write ``members`` into a zip at ``path``."""
    with zipfile.ZipFile(path, 'w') as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def color_members(train: int, val: int) -> dict[str, bytes]:
    """Return the members of an archive: pictures of three colours, one class each."""
    return {
        f'{split}/{color}/{i:04d}.png': png(noisy_picture(bgr, 1000 * len(split) + i))
        for split, count in (('train', train), ('val', val))
        for color, bgr in COLORS.items()
        for i in range(count)
    }
