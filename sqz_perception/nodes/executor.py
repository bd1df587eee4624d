# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A MultiThreadedExecutor that lets its threads begin.

Between giving a callback to a thread and the thread's beginning, rclpy's executor goes round and
round, for two reasons. It gives the same callback out again, thousands of times (ros2/rclpy#1452).
And it is woken at once, with nothing to do, while a frame waits to be taken (probably since the
subscription's QoS events hang on the same condition in Fast DDS). All the while it holds the
interpreter's lock, so that the thread begins late, the next frame is there already, and the round
never ends: about one start in ten burned a core and had its frames late by up to a second, until
the node ended.
"""

from __future__ import annotations

import time
from typing import Any
from weakref import WeakSet

from rclpy.executors import MultiThreadedExecutor

PAUSE = 50e-6  # seconds: long enough for a thread to get the interpreter's lock
PATIENCE = 0.01  # seconds; if all threads are busy, nothing can begin


class OnceExecutor(MultiThreadedExecutor):
    """For nodes whose callbacks are plain functions: an ``async`` one would not be resumed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: WeakSet[Any] = WeakSet()
        self._latest: Any = None

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next (task, entity, node) that was not returned before."""
        while True:
            self._let_begin()
            ready = super().wait_for_ready_callbacks(*args, **kwargs)
            if ready[0] not in self._given:
                self._given.add(ready[0])
                self._latest = ready[0]
                return ready

    def _let_begin(self) -> None:
        """Give way until a thread has begun with the task returned last."""
        task, self._latest = self._latest, None
        deadline = time.monotonic() + PATIENCE
        while task is not None and time.monotonic() < deadline:
            if task.executing() or task.done():
                return
            time.sleep(PAUSE)
