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
"""Read the frames of a video file or a camera, through OpenCV."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from sqz_perception.errors import SourceError
from sqz_perception.formats import Picture, reason


class Video:
    """A video file or a webcam, through OpenCV."""

    def __init__(
        self,
        where: int | str,
        description: str,
        max_pixels: int,
        backends: tuple[int, ...] = (cv2.CAP_ANY,),
    ) -> None:
        """
        Open it for a moment, with the first of OpenCV's ``backends`` that can.

        ``where`` is a webcam's index or a path. Raises SourceError where it can't be opened or its
        frames have more than ``max_pixels``.
        """
        self._where, self._max_pixels, self._backends = where, max_pixels, backends
        self.description = description
        self._is_camera = isinstance(where, int) or backends == (cv2.CAP_V4L2,)
        self._capture().release()

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        """Give the frames. Raises SourceError for a video without any."""
        capture = self._capture()
        number = 0
        try:
            while True:
                taken, picture = capture.read()
                if not taken or picture is None:
                    break
                yield f'{self.description} {number}', np.asarray(picture, np.uint8)
                number += 1
        except cv2.error as error:
            raise SourceError(f'{self.description}: {reason(error)}; replace it') from error
        finally:
            capture.release()
        if not number:
            raise SourceError(
                f'{self.description}: gives no frames; does another program use it?'
                if self._is_camera
                else f'{self.description}: holds no readable frame; replace it'
            )

    def _capture(self) -> cv2.VideoCapture:
        for backend in self._backends:
            capture = self._opened(backend)
            if capture is not None:
                return capture
        hint = 'is it connected?' if self._is_camera else 'not a video or picture'
        raise SourceError(f'{self.description}: OpenCV cannot open it; {hint}')

    def _opened(self, backend: int) -> cv2.VideoCapture | None:
        try:
            capture = cv2.VideoCapture(self._where, backend)
        except (cv2.error, OverflowError, TypeError):  # an index that is no C int
            return None
        if not capture.isOpened():
            capture.release()
            return None
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > self._max_pixels:
            capture.release()
            raise SourceError(
                f'{self.description}: frames of {width}x{height} exceed {self._max_pixels:,} '
                'pixels; convert it to a smaller size'
            )
        return capture


def file_backends() -> tuple[int, ...]:
    """Return OpenCV's readers of video files; not the one that reads numbered pictures."""
    found = cv2.videoio_registry.getStreamBackends()
    return tuple(backend for backend in found if backend != cv2.CAP_IMAGES)
