# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The newest frame of each camera. A frame that is not taken in time is replaced, and counted."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Generic, TypeVar

Frame = TypeVar('Frame')


class Mailbox(Generic[Frame]):
    """
    One slot for each camera, between the callbacks that put and the one worker that takes.

    Memory and latency are bounded whatever the cameras send. The camera that has waited longest
    is served first, so a fast camera can't starve a slow one.
    """

    def __init__(self) -> None:
        self._slots: OrderedDict[str, Frame] = OrderedDict()
        self._replaced: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, camera: str, frame: Frame) -> None:
        """Offer ``frame``; it replaces one of the same camera that still waits. Never blocks."""
        with self._changed:
            if camera in self._slots:
                self._replaced[camera] += 1
            self._slots[camera] = frame  # keeps the camera's place in the queue
            self._changed.notify()

    def take(self) -> tuple[str, Frame] | None:
        """Wait for a frame and return (camera, frame), or None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._slots or self._closed)
            return None if self._closed else self._slots.popitem(last=False)

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
