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
Classify pictures over ROS 2: an image source and a classifier, each a process of its own.

``make demo`` runs it. Prints one line for each picture, and leaves one annotated picture.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification

from sqz_perception.resources import default_model, transport_profile

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ('chelsea.png', 'horse.png', 'motorcycle_left.png', 'rocket.jpg')
RATE = 2.0  # pictures a second: slow enough to read along
PATIENCE = 20.0  # seconds without a classification after which the demo gives up
EXAMPLES = """\
examples:
  make demo
  make demo ARGS="--source 0"                          the first webcam
  make demo ARGS="--source video.mp4 --rate 30 --frames 300"
  make demo ARGS="--model imagenet.sqz --source photos/"
"""


class Spectator:
    """Prints what the classifier says and keeps the first annotated picture."""

    def __init__(self, frames: int) -> None:
        self.left = frames
        self.heard = time.monotonic()
        self.picture: Image | None = None
        self._node = rclpy.create_node('spectator')
        self._node.create_subscription(Classification, 'classification', self._print, 10)
        self._node.create_subscription(
            Image, 'classification/image', self._keep, qos_profile_sensor_data
        )

    def watch(self, alive: Callable[[], None]) -> None:
        """Spin until all frames have come. ``alive`` raises where a node has ended."""
        while self.left > 0 or self.picture is None:
            rclpy.spin_once(self._node, timeout_sec=0.2)
            alive()
            if time.monotonic() - self.heard > PATIENCE:
                raise SystemExit(f'error: no classification for {PATIENCE:g} s; see the log above')

    def _print(self, result: Classification) -> None:
        self.heard = time.monotonic()
        self.left -= 1
        latency = (self._node.get_clock().now() - Time.from_msg(result.header.stamp)).nanoseconds
        best = '   '.join(f'{r.score:4.0%} {r.class_id}' for r in result.results[:3])
        print(f'  {best}   ({latency / 1e6:.1f} ms from the camera)', flush=True)

    def _keep(self, picture: Image) -> None:
        self.picture = self.picture or picture


@contextmanager
def nodes(
    options: argparse.Namespace, **classifier: Any
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """
    Run the source and the classifier for the length of the block; end them as Ctrl-C does.

    ``classifier`` has further parameters of the classifier.
    """
    environment = {**os.environ, **transport_profile(os.environ)}

    def start(node: str, **parameters: Any) -> subprocess.Popen[bytes]:
        settings = [word for p in parameters.items() for word in ('-p', f'{p[0]}:={p[1]}')]
        command = [sys.executable, '-m', 'sqz_perception.nodes', node, '--ros-args', *settings]
        # A session of its own: Ctrl-C reaches the demo alone, and the demo passes it on.
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)

    running = [
        start('classifier_node', model=options.model, top_k=3, **classifier),
        start(
            'image_source_node', source=options.source, rate=options.rate, wait_for_listener='true'
        ),
    ]
    try:
        yield running
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait(10)


def main() -> int:
    """Run the demo; return the exit code."""
    options = _options()
    rclpy.init()
    spectator = Spectator(options.frames or sys.maxsize)
    try:
        with nodes(options) as running:

            def alive() -> None:
                ended = [process.returncode for process in running if process.poll() is not None]
                if any(ended) or (ended and spectator.left == options.frames):
                    raise SystemExit(1)  # the node's own log line says why

            spectator.watch(alive)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    if spectator.picture is not None:
        _save(spectator.picture, options.output)
        print(f'an annotated picture is in {options.output}')
    return 0


def _save(message: Image, path: Path) -> None:
    pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
    cv2.imwrite(str(path), pixels)


def demo_pictures() -> str:
    """Return a folder with the demo's pictures, from the package scikit-image."""
    import skimage

    folder = ROOT / 'build' / 'demo'
    folder.mkdir(parents=True, exist_ok=True)
    for link in folder.iterdir():
        if link.is_symlink():  # to a picture of another scikit-image
            link.unlink()
    for name in PICTURES:
        (folder / name).symlink_to(Path(skimage.__file__).parent / 'data' / name)
    return str(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='make demo',
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--source', help='webcam index, or a video, picture, folder or zip')
    parser.add_argument('--model', default=str(default_model()), help='a .sqz model file')
    parser.add_argument('--rate', type=float, default=RATE, help=f'pictures a second ({RATE:g})')
    parser.add_argument('--frames', type=int, default=8, help='how many; 0: until Ctrl-C (8)')
    parser.add_argument('--output', type=Path, default=ROOT / 'demo.png', help='annotated picture')
    options = parser.parse_args()
    options.source = options.source or demo_pictures()
    return options


if __name__ == '__main__':
    sys.exit(main())
