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
A MultiThreadedExecutor that hands each callback to a thread once and lets the thread begin.

rclpy's executor loops without a pause between handing a callback to a thread and the thread's
start, for two reasons:

- It hands out the same callback again, thousands of times (ros2/rclpy#1452).
- While a frame waits to be taken, its wait set wakes at once with nothing to do. The probable
  cause is Fast DDS, where a subscription and its QoS events share a condition.

The loop holds the interpreter's lock. The thread starts late, the next frame has arrived by then,
and the loop goes on. About one start in ten used a full core and delayed frames by up to a second.

ros2/rclpy#1547 fixes the first reason in rclpy 10.0.4, so in Rolling and Lyrical. It is not in
Humble, in Jazzy up to 7.1.12 or in Kilted up to 9.1.2. This file can go when every supported
distribution has it, if a start without ``_let_begin`` then no longer uses a full core.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from rclpy.callback_groups import CallbackGroup
from rclpy.executors import MultiThreadedExecutor

from sqz_perception.nodes.boundary import Boundary

PAUSE = 50e-6  # seconds: long enough for a thread to get the interpreter's lock
PATIENCE = 0.01  # seconds; if all threads are busy, nothing can begin


class PairGroup(CallbackGroup):
    """Runs two callbacks at a time: one that takes long, and one that answers others with busy."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._running = 0

    def can_execute(self, entity: Any) -> bool:
        return self._running < 2

    def beginning_execution(self, entity: Any) -> bool:
        with self._lock:
            if self._running == 2:
                return False
            self._running += 1
            return True

    def ending_execution(self, entity: Any) -> None:
        with self._lock:
            self._running -= 1


class _Once(MultiThreadedExecutor):
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


class OnceExecutor(Boundary, _Once):
    """
    Run callbacks with as many threads as ``groups`` can use, and survive their exceptions.

    Callbacks are plain functions: an ``async`` one is not resumed.
    """

    def __init__(self, groups: Iterable[CallbackGroup], **options: Any) -> None:
        threads = sum(2 if isinstance(group, PairGroup) else 1 for group in groups)
        super().__init__(num_threads=threads, **options)
