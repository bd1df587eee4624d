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
"""A node that answers each frame with its header alone: what the transport and rclpy cost."""

from __future__ import annotations

from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification


class EchoNode(Node):
    """image -> an empty classification."""

    def __init__(self) -> None:
        super().__init__('echo')
        self.publisher = self.create_publisher(Classification, 'classification', 10)
        self.subscription = self.create_subscription(
            Image, 'image', self.on_image, qos_profile_sensor_data
        )

    def on_image(self, message: Image) -> None:
        self.publisher.publish(Classification(header=message.header))


def main() -> None:
    """Spin until Ctrl-C."""
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(EchoNode())


if __name__ == '__main__':
    main()
