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
"""One camera's topics: frames in, classifications out, and what went on between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_policy_name_from_kind, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification

from sqz_perception.nodes.camera_report import (
    TRANSPORTS,
    CameraReporter,
    CameraView,
    topic_of,
)
from sqz_perception.nodes.statistics import CameraStatistics

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

Frame: TypeAlias = Image | CompressedImage
RESULTS_DEPTH = 10  # messages, reliable: a slow listener may lag this far behind


class Camera:
    """
    One camera of a classifier node. ``name`` is its topics' prefix, '' for the only camera.

    Publishers live from configure to cleanup, the subscription from activate to deactivate.
    ``on_frame(camera, message)`` is called for each frame that is to be classified.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        transport: str,
        on_frame: Callable[[Camera, Any], None],
    ) -> None:
        self.name = name
        self._node = node
        self._on_frame = on_frame
        self._transport = transport
        self._subscription: Any = None
        self._due = 0.0  # time.monotonic() before which max_rate lets no frame through
        prefix = f'{name}/' if name else ''
        self._input = prefix + topic_of(transport)
        self._results = node.create_lifecycle_publisher(
            Classification, f'{prefix}classification', RESULTS_DEPTH
        )
        self._pictures = node.create_lifecycle_publisher(
            Image, f'{prefix}classification/image', qos_profile_sensor_data
        )
        self.topic = node.resolve_topic_name(self._input)  # in full, remapped: for people
        self._begin_anew()

    @property
    def watched(self) -> bool:
        """Whether somebody listens to the annotated pictures."""
        return self._pictures.get_subscription_count() > 0

    def subscribe(self, qos: QoSProfile, group: CallbackGroup) -> None:
        self._begin_anew()
        self._subscription = self._node.create_subscription(
            CompressedImage if self._transport == 'compressed' else Image,
            self._input,
            self._receive,
            qos,
            callback_group=group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible),
        )

    def unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def destroy(self) -> None:
        self.unsubscribe()
        for publisher in (self._results, self._pictures):
            self._node.destroy_lifecycle_publisher(publisher)

    def due(self, max_rate: float) -> bool:
        """Whether a frame that comes now keeps below ``max_rate`` hertz (0: no limit)."""
        if not max_rate:
            return True
        now = time.monotonic()
        if now < self._due:
            return False
        self._due += 1 / max_rate  # not from now: a rate just above the camera's would halve it
        if self._due <= now:
            self._due = now + 1 / max_rate
        return True

    def publish(self, classification: Classification) -> None:
        self._results.publish(classification)

    def publish_picture(self, picture: Image) -> None:
        self._pictures.publish(picture)

    def view(self, **known: Any) -> CameraView:
        """Return what the diagnostics need to know now: ``known`` and what the camera knows."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        return CameraView(
            topic=self.topic,
            transport=self._transport,
            statistics=self.statistics,
            publishers=Counter(each.topic_type for each in publishers),
            qos_mismatch=self._qos_mismatch,
            **known,
        )

    def _begin_anew(self) -> None:
        self.statistics = CameraStatistics()
        self.reporter = CameraReporter(self.name)
        self._qos_mismatch: str | None = None

    def _receive(self, message: Frame) -> None:
        self.statistics.on_received()
        self._on_frame(self, message)

    def _on_incompatible(self, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        self._qos_mismatch = policy
        self._node.get_logger().error(
            f'{self.topic}: a publisher offers another {policy} than is asked for, so none of its '
            'frames can arrive; set the parameter reliability to best_effort'
        )


def warn_of_useless_remap(node: Node, cameras: list[Camera]) -> None:
    """Log a remap of the input of the only camera, where the cameras have names instead."""
    if any(not camera.name for camera in cameras):
        return
    for topic in map(topic_of, TRANSPORTS):
        remapped = node.resolve_topic_name(topic)
        if remapped != node.resolve_topic_name(topic, only_expand=True):
            names = ', '.join(f'{camera.name}/{topic}' for camera in cameras)
            node.get_logger().warning(
                f'the remap of {topic} to {remapped} (image_topic in the launch file) has no '
                f'effect, because the cameras have names; remap {names}'
            )
