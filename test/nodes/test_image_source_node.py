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
"""The image source: pictures in, camera topics out."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from ros_support import Client


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for value in (40, 80, 120):
        cv2.imwrite(str(folder / f'{value:03}.png'), np.full((30, 40, 3), value, np.uint8))
    return folder


def shades(messages: list[Any]) -> list[int]:
    return [message.data[0] for message in messages]


def test_once_through_and_then_the_end(start: Any, pictures: Path, client: Client) -> None:
    received = client.collect(Image, 'image')
    process = start(
        'image_source_node', source=pictures, rate=20.0, loop=False, wait_for_listener=True
    )
    client.until(lambda: len(received) == 3, 'three pictures')
    assert process.wait() == 0
    assert shades(received) == [40, 80, 120]
    first = received[0]
    assert (first.height, first.width, first.step, first.encoding) == (30, 40, 120, 'bgr8')
    assert first.header.frame_id == 'camera'
    assert first.header.stamp.sec > 0
    assert 'all of 3 pictures' in process.output


def test_again_and_again(start: Any, pictures: Path, client: Client) -> None:
    received = client.collect(Image, 'image')
    process = start('image_source_node', source=pictures, rate=50.0, width=20, frame_id='front')
    client.until(lambda: len(received) >= 7, 'more than two rounds')
    seen = shades(received)
    order = {40: 80, 80: 120, 120: 40}
    assert [order[a] for a in seen[:-1]] == seen[1:]
    assert (received[0].height, received[0].width) == (30, 20)
    assert received[0].header.frame_id == 'front'
    assert process.stop(signal.SIGINT) == 0
    assert 'Traceback' not in process.output


def test_as_jpeg(start: Any, pictures: Path, client: Client) -> None:
    received = client.collect(CompressedImage, 'image/compressed')
    start('image_source_node', source=pictures / '080.png', rate=20.0, transport='compressed')
    message = client.until(lambda: received, 'a picture')[0]
    assert message.format == 'jpeg'
    picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (30, 40, 3)
    assert abs(int(picture[0, 0, 0]) - 80) <= 2


def test_a_broken_picture_is_skipped_and_told(start: Any, pictures: Path, client: Client) -> None:
    (pictures / '060.png').write_bytes(b'broken')
    received = client.collect(Image, 'image')
    process = start(
        'image_source_node', source=pictures, rate=20.0, loop=False, wait_for_listener=True
    )
    assert client.until(lambda: len(received) == 3, 'the others')
    assert process.wait() == 0
    assert 'skipped: ' in process.output
    assert '060.png: not a picture' in process.output


def test_a_picture_too_wide_for_jpeg_is_skipped(
    start: Any, pictures: Path, client: Client
) -> None:
    cv2.imwrite(str(pictures / '060.png'), np.zeros((8, 70_000, 3), np.uint8))
    received = client.collect(CompressedImage, 'image/compressed')
    process = start(
        'image_source_node', source=pictures, rate=20.0, loop=False, wait_for_listener=True,
        transport='compressed',
    )  # fmt: skip
    assert client.until(lambda: len(received) == 3, 'the others')
    assert process.wait() == 0
    assert 'skipped: 060.png: 70000x8 pixels do not fit in a JPEG' in process.output
    assert 'Traceback' not in process.output


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        ('/dev/null', '/dev/null: a device, but no camera'),
        ('/nowhere', '/nowhere: no such file or folder'),
        (99, 'webcam 99: OpenCV cannot open it'),
        ('config', 'holds no pictures'),
    ],
)
def test_a_source_that_can_not_be_opened(start: Any, source: Any, message: str) -> None:
    process = start('image_source_node', source=source)
    assert process.wait() == 1
    assert message in process.output
    assert 'Traceback' not in process.output


def test_a_folder_of_nothing_but_broken_pictures_ends(
    start: Any, tmp_path: Path, client: Client
) -> None:
    (tmp_path / 'a.png').write_bytes(b'broken')
    process = start('image_source_node', source=tmp_path, rate=50.0)
    assert process.wait() == 1
    assert 'no picture can be used' in process.output
    assert 'Traceback' not in process.output
