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
"""Latched topics: a late subscriber gets the last message, and any change is published again."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

LATCHED = QoSProfile(
    depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)


class Latched:
    """A lifecycle publisher of messages with a header, that publishes what has changed."""

    def __init__(self, node: LifecycleNode, kind: type, topic: str) -> None:
        self._node = node
        self._publisher = node.create_lifecycle_publisher(kind, topic, LATCHED)
        self._last: Any = None

    def update(self, message: Any) -> None:
        """Stamp and publish ``message``, unless it says the same as the last or is inactive."""
        if not self._publisher.is_activated:
            return
        if self._last is not None:
            message.header.stamp = self._last.header.stamp
            if message == self._last:
                return
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._last = message
        self._publisher.publish(message)

    def destroy(self) -> None:
        self._node.destroy_lifecycle_publisher(self._publisher)
