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
"""The newest frame of each camera. A frame that is not taken in time is replaced, and counted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, TypeVar

Frame = TypeVar('Frame')

ACTIVE = 1.0  # seconds since its last frame for which a camera has a right to its turn


class Mailbox(Generic[Frame]):
    """
    One slot for each camera, between the callbacks that put and the one worker that takes.

    Memory and latency are bounded whatever the cameras send, and they take turns by the time that
    their frames cost. The camera that has waited longest is served first. Where a frame takes so
    long that another camera loses frames meanwhile, its camera then rests: for the time that the
    frame took, times the number of other cameras. So with n cameras each has the worker for about
    one n-th of the time, whatever the others send. A camera that costs the others no frame never
    rests, and nothing is saved up.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        changed: threading.Condition | None = None,
    ) -> None:
        self._clock = clock
        self._changed = changed or threading.Condition()
        self._slots: dict[str, Frame] = {}  # in the order in which the cameras began to wait
        self._replaced: Counter[str] = Counter()
        self._served: tuple[str, float] | None = None  # the camera at the worker, and since when
        self._losers: set[str] = set()  # the cameras that lost frames meanwhile
        self._seen: dict[str, float] = {}  # camera -> the time of its last frame
        self._rests: dict[str, float] = {}  # camera -> the time at which it may be served again
        self._closed = False

    def put(self, camera: str, frame: Frame) -> None:
        """Offer ``frame``; it replaces one of the same camera that still waits. Never blocks."""
        with self._changed:
            if camera in self._slots:
                self._replaced[camera] += 1
                self._losers.add(camera)
            self._seen[camera] = self._clock()
            self._slots[camera] = frame  # keeps the camera's place in the queue
            self._changed.notify()

    def take(self) -> tuple[str, Frame] | None:
        """
        Wait for a frame and return (camera, frame), or None once the mailbox is closed.

        The call also ends the turn of the camera that was returned last.
        """
        with self._changed:
            self._end_turn()
            while not self._closed:
                rests = {camera: self._rest(camera) for camera in self._slots}
                ready = [camera for camera, rest in rests.items() if rest <= 0]
                if ready:
                    self._served = (ready[0], self._clock())
                    self._losers.clear()
                    return ready[0], self._slots.pop(ready[0])
                self._changed.wait(min(rests.values(), default=None))
            return None

    def replaced(self, camera: str) -> int:
        """Return how many of the camera's frames were replaced by newer ones so far."""
        with self._changed:
            return self._replaced[camera]

    def close(self) -> None:
        """Wake the worker for the last time; frames that wait are let go."""
        with self._changed:
            self._closed = True
            self._slots.clear()
            self._changed.notify_all()

    def _end_turn(self) -> None:
        if self._served is None:
            return
        camera, since = self._served
        self._served = None
        if not self._losers - {camera}:
            return
        others = [c for c, seen in self._seen.items() if c != camera and seen > since - ACTIVE]
        now = self._clock()
        self._rests[camera] = now + (now - since) * len(others)

    def _rest(self, camera: str) -> float:
        """Return the seconds for which ``camera`` must still wait."""
        return self._rests.get(camera, 0.0) - self._clock()
