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
A camera in a process of its own: 1280x720 bgr8 at a fixed rate, each frame stamped as it goes.

Prints 'flowing' with the first frame and, at its end, one line of JSON:
{"sent": [[stamp in ns, milliseconds that publish() took], ...]}.
"""

from __future__ import annotations

import argparse
import array
import json
import time

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

HEIGHT, WIDTH = 720, 1280  # pixels
QOS = QoSProfile(depth=5)  # reliable, which every subscriber can take
SETTLE = 1.5  # seconds from the first subscriber to the first frame: all else gets connected


def frame() -> Image:
    """Return a bgr8 frame without a stamp; what it shows costs nothing."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    message = Image(height=HEIGHT, width=WIDTH, encoding='bgr8', step=3 * WIDTH)
    message.header.frame_id = 'camera'
    message.data = array.array('B', pixels.tobytes())
    return message


def publish(publisher: Publisher, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Publish for ``seconds`` and return what the module's text says; Ctrl-C ends it sooner."""
    message = frame()
    sent: list[tuple[int, float]] = []
    begun = time.monotonic()
    try:
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            stamp = time.time_ns()
            message.header.stamp = Time(sec=stamp // 10**9, nanosec=stamp % 10**9)
            publisher.publish(message)
            if number == 0:
                print('flowing', flush=True)
            sent.append((stamp, (time.time_ns() - stamp) / 1e6))
    except KeyboardInterrupt:
        pass
    return sent


def main() -> None:
    """Publish as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rate', type=float, default=30.0, help='frames a second')
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--at-once', action='store_true', help='wait for no subscriber')
    options = parser.parse_args()
    rclpy.init(args=[])
    node = Node('camera')
    publisher = node.create_publisher(Image, 'image', QOS)
    while not options.at_once and not publisher.get_subscription_count():
        time.sleep(0.05)
    time.sleep(0.0 if options.at_once else SETTLE)
    sent = publish(publisher, options.rate, options.seconds)
    print(json.dumps({'sent': sent}), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
