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
"""A 1280x720 message -> the network's picture: every encoding in turns; and rclpy's own share."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from benchmarks import camera
from benchmarks.report import Row, summarise
from benchmarks.setting import Setting, say
from benchmarks.turns import timed
from sqz_perception.inference import frames
from sqz_perception.inference.encodings import ENCODINGS
from sqz_perception.model.network import InputSpec

HEIGHT, WIDTH = camera.HEIGHT, camera.WIDTH
SPEC = InputSpec(224, 224, 256)
TURNS = 20
RUNS = 10  # in each turn
# Other words for an encoding, and mosaics that differ in where they begin: as fast as another.
ALIKE = frozenset({'8UC1', '8UC3', '16UC1', 'uyvy', 'yuyv'}) | {
    f'bayer_{mosaic}{bits}' for mosaic in ('bggr', 'gbrg', 'grbg') for bits in (8, 16)
}


def measure(setting: Setting) -> Iterator[Row]:
    """Return one row for each encoding and format, and one for each step of rclpy's."""
    runs = {**conversions(), **rclpy_steps()}
    found: dict[str, list[float]] = {name: [] for name in runs}
    say(f'conversions: {len(runs)} in {TURNS} turns')
    for _ in range(TURNS):
        for name, run in runs.items():
            found[name] += timed(run, RUNS, warm_up=1)
    for name, values in found.items():
        yield summarise('conversion', name, 'ms', values)


def conversions() -> dict[str, Callable[[], object]]:
    """Return what to run for each encoding that means something of its own, JPEG and PNG."""
    rng = np.random.default_rng(0)
    runs: dict[str, Callable[[], object]] = {}
    for name, encoding in ENCODINGS.items():
        if name in ALIKE:
            continue
        step = encoding.row_bytes(WIDTH)
        size = encoding.total_rows(HEIGHT) * step
        data = array.array('B', rng.integers(0, 256, size, np.uint8).tobytes())
        message = SimpleNamespace(
            height=HEIGHT, width=WIDTH, encoding=name, is_bigendian=0, step=step, data=data
        )
        runs[name] = partial(frames.from_image, message, SPEC)
    for kind in ('jpeg', 'png'):
        runs[kind] = partial(frames.from_compressed, _compressed(kind), SPEC)
    return runs


def rclpy_steps() -> dict[str, Callable[[], object]]:
    """Return what rclpy does to a frame on either side, beside moving its bytes."""
    message = camera.frame()
    data = serialize_message(message)
    return {
        'rclpy: serialise bgr8': lambda: serialize_message(message),
        'rclpy: deserialise bgr8': lambda: deserialize_message(data, Image),
    }


def _compressed(kind: str) -> SimpleNamespace:
    """Return soft colours with some texture: noise would be no camera's JPEG."""
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.integers(30, 226, (9, 16, 3), np.uint8), (WIDTH, HEIGHT))
    texture = rng.integers(0, 12, (HEIGHT, WIDTH, 1), np.uint8)
    _, data = cv2.imencode(f'.{kind}', soft + texture)
    return SimpleNamespace(format=kind, data=array.array('B', data.tobytes()))
