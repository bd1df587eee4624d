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
"""Hostile frames of one camera: the node drops them by name, and goes on with the other camera."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage

from hostile_pictures import (
    COLOUR_ALPHA,
    GREY,
    PNG_START,
    black_png,
    chunk,
    encoded,
    gif_claiming,
    png_header,
    progressive_jpeg,
    with_chunks,
)
from ros_support import Client, jpeg

MAX_PIXELS = 2**21
MOSAIC = np.full((48, 64), 120, np.uint8)
TEXT = chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(8 * 2**20), 9))
LYING = PNG_START + png_header(8, 8) + struct.pack('>I', 2**32 - 1) + b'IDAT' + bytes(12)
# The field format, the data, and the name under which it is dropped; none for what is classified.
FRAMES = {
    'pixels of one bit': ('png', black_png(8192, 8192, 1, GREY), 'oversized'),
    'a lying chunk': ('png', LYING, 'corrupt'),
    'scans': ('jpeg', progressive_jpeg(640, 480, 1000), 'unknown_encoding'),
    'texts': ('png', with_chunks(black_png(64, 64), 50 * TEXT), None),
    'passes of 16 bits': ('png', black_png(1448, 1448, 16, COLOUR_ALPHA, interlaced=True), None),
    'a GIF': ('gif', gif_claiming(65535, 65535), 'unknown_encoding'),
    'distances': ('16UC1; compressedDepth png', encoded('.png', MOSAIC), 'unknown_encoding'),
    'no mosaic': ('bayer_xyzw8; png compressed ', encoded('.png', MOSAIC), 'unknown_encoding'),
    'a mosaic': ('bayer_rggb8; png compressed ', encoded('.png', MOSAIC), None),
}


def frame(client: Client, name: str, format_: str, data: bytes) -> CompressedImage:
    message = CompressedImage(format=format_)
    message.data.frombytes(data)
    message.header.frame_id, message.header.stamp = name, client.stamp()
    return message


def test_hostile_frames_take_neither_memory_nor_the_other_camera(
    start: Any, models: Any, client: Client
) -> None:
    process = start(
        'classifier_node', model=models['one'], transport='compressed', cameras=['bad', 'good'],
        max_pixels=MAX_PIXELS, reliability='reliable', **{'diagnostic_updater.period': 0.1},
    )  # fmt: skip
    arrays = client.collect(DiagnosticArray, '/diagnostics')
    bad, of_bad = client.camera('bad/image/compressed', 'bad/classification', jpeg())
    good, of_good = client.camera('good/image/compressed', 'good/classification', jpeg())
    before = process.peak_memory()

    def counted(kind: str) -> int:
        return max(
            (
                int(pair.value)
                for array in arrays
                for status in array.status
                if status.name.endswith('bad')
                for pair in status.values
                if pair.key == f'dropped_{kind}'
            ),
            default=0,
        )

    expected = Counter[str]()
    classified = []
    for name, (format_, data, dropped) in FRAMES.items():
        of_good.clear()
        bad.publish(frame(client, name, format_, data))
        good.publish(frame(client, name, 'jpeg', encoded('.jpg', np.dstack([MOSAIC] * 3))))
        client.until(of_good.copy, f'the other camera beside {name}')
        if dropped is None:
            classified.append(name)
            client.until(lambda: len(of_bad) == len(classified), name)
        else:
            expected[dropped] += 1
            client.until(lambda kind=dropped: counted(kind) == expected[kind], name)
    assert [result.header.frame_id for result in of_bad] == classified
    assert process.peak_memory() - before < 64 * MAX_PIXELS / 2**10  # 64 bytes a pixel
    assert 'Traceback' not in process.output
