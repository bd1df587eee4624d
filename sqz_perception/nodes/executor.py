# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A MultiThreadedExecutor that gives each callback to its threads once.

Until a thread has begun with a callback, rclpy's hands it out again at every turn. On a busy
machine the threads then work off thousands of copies while the next callback waits behind them
and is copied in turn: a core burns and frames are late by half a second, until the node ends.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from rclpy.executors import MultiThreadedExecutor


class OnceExecutor(MultiThreadedExecutor):
    """For nodes whose callbacks are plain functions: an ``async`` one would not be resumed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: WeakSet[Any] = WeakSet()

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next (task, entity, node) that was not returned before."""
        while True:
            ready = super().wait_for_ready_callbacks(*args, **kwargs)
            if ready[0] not in self._given:
                self._given.add(ready[0])
                return ready
