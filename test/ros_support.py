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
"""Real nodes in processes of their own, and a client that talks to them over DDS."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification

from sqz_perception.resources import transport_profile

Frame: TypeAlias = Image | CompressedImage

ROOT = Path(__file__).parent.parent
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')  # Jazzy and later
os.environ.update(transport_profile(os.environ))  # before the first participant is made

PATIENCE = 30.0  # seconds until a test gives up; nothing here takes a tenth of it
SEGMENT = re.compile(r'/dev/shm/fast(?:rtps|dds)_[0-9a-f]{16}$', re.M)
GREETING = 'greeting'  # the frame_id of frames that only test the connection
MANY = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)  # answers at once
RELIABLE = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class Process:
    """A node of this package, or a script with one, in a process of its own."""

    def __init__(
        self,
        node: str,
        domain: int,
        log: Path,
        remaps: list[str],
        parameters: dict[str, Any],
        params: Path | None = None,
    ) -> None:
        pairs = [('--params-file', str(params))] if params else []
        pairs += [('-p', f'{name}:={_yaml(value)}') for name, value in parameters.items()]
        pairs += [('-r', remap) for remap in remaps]
        arguments = [word for pair in pairs for word in pair]
        main = [node] if node.endswith('.py') else ['-m', 'sqz_perception.nodes', node]
        command = [sys.executable, *main, '--ros-args', *arguments]
        environment = {
            **os.environ,
            'ROS_DOMAIN_ID': str(domain),
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
            'PYTHONUNBUFFERED': '1',
            'ROS_HOME': str(log.parent / 'ros_home'),  # each test has its own store of models
        }
        self._log = log
        with log.open('w') as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until the process has logged ``text``."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            assert self._process.poll() is None, f'it ended before it logged {text!r}'
            assert time.monotonic() < deadline, f'waited {PATIENCE:g} s in vain for {text!r}'
            time.sleep(0.02)

    def wait(self) -> int:
        return self._process.wait(PATIENCE)

    def send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask the process to end and return its exit code."""
        self.send(how)
        return self.wait()

    def libraries(self) -> str:
        """Return the files that the process has mapped into its memory."""
        return Path(f'/proc/{self._process.pid}/maps').read_text()

    def peak_memory(self) -> int:
        """Return the most memory that the process has had, in KiB."""
        status = Path(f'/proc/{self._process.pid}/status').read_text()
        return int(status.split('VmHWM:')[1].split()[0])

    def segments(self) -> list[Path]:
        """Return the files of the shared memory that Fast DDS made for this process alone."""
        mine = set(SEGMENT.findall(Path('/proc/self/maps').read_text()))
        return [Path(name) for name in set(SEGMENT.findall(self.libraries())) - mine]

    def end(self) -> None:
        """End the process in peace if it can be: a killed one leaves its shared memory behind."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Client:
    """A node of the test's own: publishes frames, keeps what comes back, calls services."""

    def __init__(self, domain: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node('test_client', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}

    def close(self) -> None:
        self.node.destroy_node()
        self._context.try_shutdown()

    def collect(self, kind: type, topic: str, qos: QoSProfile | int = RELIABLE) -> list[Any]:
        """Subscribe; messages appear in the returned list while the client waits for something."""
        messages: list[Any] = []
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def camera(
        self, topic: str = 'image', results: str = 'classification', frame: Frame | None = None
    ) -> tuple[Any, list[Any]]:
        """
        Return a publisher of frames and the list in which their classifications will appear.

        DDS connects each pair of endpoints in its own time, so ``frame`` is sent until one comes
        back: from then on nothing is lost for want of a connection.
        """
        frame = frame or picture(self.stamp())
        frame.header.frame_id = GREETING
        greeted, received = [], []

        def sort(message: Classification) -> None:
            (greeted if message.header.frame_id == GREETING else received).append(message)

        self.node.create_subscription(Classification, results, sort, RELIABLE)
        publisher = self.node.create_publisher(type(frame), topic, RELIABLE)
        deadline = time.monotonic() + PATIENCE
        while not greeted:
            assert time.monotonic() < deadline, f'nothing comes back from {topic}'
            frame.header.stamp = self.stamp()
            publisher.publish(frame)
            self.spin_for(0.1)
        return publisher, received

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Take part in ROS until ``condition`` holds; return what it gave."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            result = condition()
            if result:
                return result
            self._executor.spin_once(timeout_sec=0.05)
        raise AssertionError(f'waited {PATIENCE:g} s in vain for {what}')

    def spin_for(self, seconds: float) -> None:
        """Take part in ROS for some time: to see that something does not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)

    def begin(self, kind: type, name: str, request: Any = None) -> Any:
        """Call a service and return the future of its answer."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name, qos_profile=MANY)
        client = self._clients[name]
        self.until(client.service_is_ready, f'the service {name}')
        return client.call_async(request if request is not None else kind.Request())

    def call(self, kind: type, name: str, request: Any = None) -> Any:
        future = self.begin(kind, name, request)
        self.until(future.done, f'the answer of {name}')
        return future.result()

    def set_parameter(self, node: str, name: str, value: Any) -> Any:
        """Return the node's answer (successful, reason)."""
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg()]
        )
        return self.call(SetParameters, f'{node}/set_parameters', request).results[0]

    def stamp(self) -> Any:
        return self.node.get_clock().now().to_msg()


@contextmanager
def running(
    node: str,
    domain: int,
    log: Path,
    remaps: list[str],
    params: Path | None = None,
    **parameters: Any,
) -> Iterator[Process]:
    """Run a node for the length of the block."""
    process = Process(node, domain, log, remaps, parameters, params)
    try:
        yield process
    finally:
        process.end()


def picture(stamp: Any, *, side: int = 48, frame_id: str = 'camera', value: int = 100) -> Image:
    """Return a small bgr8 frame."""
    pixels = np.full((side, side, 3), value, np.uint8)
    message = Image(height=side, width=side, encoding='bgr8', step=3 * side)
    message.data.frombytes(pixels.tobytes())
    message.header.stamp, message.header.frame_id = stamp, frame_id
    return message


def jpeg() -> CompressedImage:
    """Return a small grey JPEG."""
    _, data = cv2.imencode('.jpg', np.full((90, 120, 3), 99, np.uint8))
    frame = CompressedImage(format='jpeg')
    frame.data.frombytes(data.tobytes())
    return frame


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return '[' + ','.join(map(str, value)) + ']'
    return str(value)
