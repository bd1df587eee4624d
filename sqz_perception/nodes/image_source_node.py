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
Publish pictures as a camera would: a webcam, a video, a folder or zip of pictures -> image.

For demonstrations, tests and robots whose camera is a plain webcam.
"""

from __future__ import annotations

import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sqz_perception.errors import SourceError
from sqz_perception.nodes import messages
from sqz_perception.nodes.boundary import BoundedExecutor
from sqz_perception.nodes.clock import ClockWatch, steady
from sqz_perception.nodes.parameters import Parameters, declared, parameter
from sqz_perception.nodes.runner import run
from sqz_perception.pictures import Source, open_source

DEPTH = 5  # frames
MAX_JPEG_SIDE = 65_500  # pixels, of libjpeg


@dataclass(frozen=True)
class SourceSettings:
    """What the node is set to now."""

    # fmt: off
    source: str | int = parameter(
        '0', 'Webcam index, or the path of a video, picture, folder, zip or device', dynamic=True)
    rate: float = parameter(30.0, 'Pictures a second', (0.01, 1000.0))
    loop: bool = parameter(True, 'Begin again at the end; false: end the node there')
    transport: str = parameter(
        'raw', 'Publish image, or image/compressed as JPEG', ('raw', 'compressed'))
    width: int = parameter(0, 'Width in pixels to resize to; 0: as it is', (0, 16384))
    height: int = parameter(0, 'Height in pixels to resize to; 0: as it is', (0, 16384))
    jpeg_quality: int = parameter(90, 'Quality of the JPEGs', (1, 100), live=True)
    frame_id: str = parameter('camera', 'Frame of the headers', live=True)
    reliability: str = parameter(
        'reliable', 'QoS of the publisher; reliable matches every subscriber',
        ('best_effort', 'reliable'))
    wait_for_listener: bool = parameter(False, 'Publish nothing before somebody listens')
    # fmt: on


PARAMETERS = declared(SourceSettings)


class ImageSourceNode(Node):
    """One publisher and one timer. Raises SourceError where the source can't be opened."""

    def __init__(self, **options: Any) -> None:
        super().__init__('image_source', **options)
        self._ros_parameters = Parameters(self, SourceSettings, lambda: True)
        self._clock_watch = ClockWatch(self)
        self._source: Source = open_source(str(self._settings.source))
        self._messages = self._endless() if self._settings.loop else self._once()
        self._compressed = self._settings.transport == 'compressed'
        qos = QoSProfile(
            depth=DEPTH, reliability=ReliabilityPolicy[self._settings.reliability.upper()]
        )
        kind, topic = (
            (CompressedImage, 'image/compressed') if self._compressed else (Image, 'image')
        )
        self._publisher = self.create_publisher(kind, topic, qos)
        self.create_timer(1 / self._settings.rate, self._publish_next, clock=steady())
        rate = self._settings.rate
        self.get_logger().info(
            f'publishing {self._source.description} on {self._publisher.topic_name} at {rate:g} Hz'
        )

    @property
    def _settings(self) -> SourceSettings:
        return self._ros_parameters.current

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Accept what ``Parameters.change`` accepts; all parameter services lead here."""
        return self._ros_parameters.change(parameter_list, super().set_parameters_atomically)

    def _publish_next(self) -> None:
        self._clock_watch.trouble()  # logged: without a time the stamps are zero
        if self._settings.wait_for_listener and not self._publisher.get_subscription_count():
            return
        try:
            name, message = next(self._messages)
        except StopIteration:
            self.get_logger().info(f'all of {self._source.description} published')
            raise ExternalShutdownException from None  # ends the spinning, with exit code 0
        except SourceError as error:
            self.get_logger().fatal(str(error))
            raise SystemExit(1) from None
        if isinstance(message, SourceError):
            self.get_logger().warning(f'skipped: {message}')
            return
        message.header = Header(
            stamp=self.get_clock().now().to_msg(), frame_id=self._settings.frame_id
        )
        self.get_logger().debug(f'{name}')
        self._publisher.publish(message)

    def _message(self, picture: NDArray[np.uint8]) -> Image | CompressedImage:
        """Return ``picture`` as a message without a header. Raises SourceError or cv2.error."""
        picture = self._resized(picture)
        if not self._compressed:
            return messages.image(Header(), picture)
        height, width = picture.shape[:2]
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality]
        # Not asked of OpenCV: one version raises its own error, another returns False.
        if max(height, width) > MAX_JPEG_SIDE:
            raise SourceError(
                f'{width}x{height} pixels do not fit in a JPEG, at most {MAX_JPEG_SIDE:,} a side; '
                'set width and height'
            )
        done, data = cv2.imencode('.jpg', picture, quality)
        if not done:
            raise SourceError('OpenCV cannot write it as a JPEG; set transport to raw')
        return CompressedImage(format='jpeg', data=array.array('B', data.tobytes()))

    def _resized(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height = self._settings.height or picture.shape[0]
        width = self._settings.width or picture.shape[1]
        if (height, width) == picture.shape[:2]:
            return picture
        shrinks = height < picture.shape[0]
        kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (width, height), interpolation=kind), np.uint8)

    def _once(self) -> Iterator[tuple[str, Image | CompressedImage | SourceError]]:
        """Give (name, message) for each picture; the error for one that can't be used."""
        for name, picture in self._source.frames():
            if isinstance(picture, SourceError):
                yield name, picture
                continue
            try:
                message = self._message(picture)
            except Exception as error:
                yield name, SourceError(f'{name}: {" ".join(str(error).split())}')
            else:
                yield name, message

    def _endless(self) -> Iterator[tuple[str, Image | CompressedImage | SourceError]]:
        """Give the messages again and again; end where a whole round gave none."""
        while True:
            found = False
            for name, message in self._once():
                found = found or not isinstance(message, SourceError)
                yield name, message
            if not found:
                raise SourceError(f'{self._source.description}: no picture can be used; see above')


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the executable ``image_source_node``."""
    return run(ImageSourceNode, lambda _: BoundedExecutor(), arguments)
