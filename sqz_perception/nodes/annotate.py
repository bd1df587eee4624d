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
"""The picture that people look at: the frame with its classes written on it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception.inference.classifier import Result

FONT = cv2.FONT_HERSHEY_SIMPLEX
LINE = 0.05  # a line's height in parts of the picture's
BAR = (180, 120, 40)  # BGR
INK = (255, 255, 255)


def annotate(
    picture: NDArray[np.uint8], results: Sequence[Result], caption: str
) -> NDArray[np.uint8]:
    """
    Return a copy of ``picture`` with a bar and a label for each result, and the caption below.

    ``picture`` is uint8 (rows, columns, 3) in BGR.
    """
    drawn = picture.copy()
    height, width = drawn.shape[:2]
    line = max(int(height * LINE), 12)
    panel = drawn[: line * len(results) + line // 2]
    panel[:] = panel // 3  # dark behind light writing, whatever the picture
    for row, result in enumerate(results):
        top = line // 4 + row * line
        end = int((width - 1) * min(max(result.score, 0.0), 1.0))
        cv2.rectangle(drawn, (0, top + 1), (end, top + line - 2), BAR, cv2.FILLED)
        _write(
            drawn, f'{result.score:6.1%}  {result.label}', (line // 3, top + line * 3 // 4), line
        )
    drawn[height - line :] = drawn[height - line :] // 3
    _write(drawn, caption, (line // 3, height - line // 4), line)
    return drawn


def _write(picture: NDArray[np.uint8], text: str, where: tuple[int, int], line: int) -> None:
    scale = line / 32  # the font's capitals are about 21 pixels high at scale 1
    plain = text.encode('ascii', 'replace').decode()  # the font has no others
    cv2.putText(picture, plain, where, FONT, scale, INK, max(1, line // 18), cv2.LINE_AA)
