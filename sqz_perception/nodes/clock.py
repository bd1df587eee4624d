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
"""The node's clocks: a steady one for what must go on, and a watch on the simulated one."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

PATIENCE = 2.0  # seconds that the simulated time may stand still before it is reported
NS = 10**9  # nanoseconds in a second


def steady() -> Clock:
    """Return a clock for timers that go on whatever use_sim_time and /clock do."""
    return Clock(clock_type=ClockType.STEADY_TIME)


class ClockWatch:
    """Reports a simulated time that does not advance, once in the log and as long as it lasts."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen = -1  # nanoseconds of the simulated time
        self._advanced = 0.0  # time.monotonic() when it last advanced
        self._logged: str | None = None

    def trouble(self) -> str | None:
        """Return what is wrong with the clock, or None. To be called about once a second."""
        text = self._check()
        if text and text != self._logged:
            self._node.get_logger().warning(text)
        self._logged = text
        return text

    def age(self, stamp: Time) -> float | None:
        """Return the seconds since ``stamp``; None without a stamp or without a time."""
        now = self._node.get_clock().now().nanoseconds
        if now == 0 or (stamp.sec == 0 and stamp.nanosec == 0):
            return None
        return (now - stamp.sec * NS - stamp.nanosec) / NS

    def _check(self) -> str | None:
        clock, now = self._node.get_clock(), time.monotonic()
        if not clock.ros_time_is_active:
            self._seen = -1
            return None
        simulated = clock.now().nanoseconds
        if simulated != self._seen:
            self._seen, self._advanced = simulated, now
        if now - self._advanced < PATIENCE:
            return None
        if simulated == 0:
            return (
                'no /clock, but use_sim_time is true: start the simulator, play the bag with '
                '--clock, or set use_sim_time to false'
            )
        return '/clock stands still: is the simulator or the bag paused?'
