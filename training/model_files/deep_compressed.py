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
The Deep-Compressed SqueezeNet v1.0 -> its layers. Needs no torch.

The file, little-endian, read to its last byte:

===========================  ==================================================================
26 x uint32                  stored entries of each convolution, in the network's order
then for each convolution:
256 x float32                codebook
out x float32                biases
entries x uint8              a code for each entry, an index into the codebook
ceil(entries / 2) x uint8    gaps, two to a byte, the low half first
===========================  ==================================================================

Entry k stands at position ``cumsum(gap + 1)[k] - 1`` of the flattened (out, in, rows, columns)
weight; positions without an entry are zero. An entry with code 0 only bridges a gap of more than
15: code 0 stands for zero, so its codebook value must be zero.

Source: Han et al., Deep Compression, arXiv 1510.00149; the network is Caffe's SqueezeNet v1.0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqz_perception.model.network import InputSpec, Model
from training.errors import ImportFailed
from training.model_files.assemble import Assembler, Identity, Layer

CLASSES = 1000
CODEBOOK = 256
# (squeeze, expand1x1 and expand3x3 each) filters of fire2 to fire9
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
POOLS_AFTER = ('conv1', 'fire4', 'fire8')
# 227 pixels of a short side of 256, BGR from 0 to 255 less the mean of ImageNet
SPEC = InputSpec(227, 227, 256, 'bgr', (104.0, 117.0, 123.0), (1.0, 1.0, 1.0))

Shape = tuple[int, int, int, int]  # out, in, rows, columns


def shapes() -> dict[str, Shape]:
    """Return name -> weight shape of the 26 convolutions, in the file's order."""
    found: dict[str, Shape] = {'conv1': (96, 3, 7, 7)}
    channels = 96
    for number, (squeeze, expand) in enumerate(FIRES, start=2):
        found[f'fire{number}.squeeze1x1'] = (squeeze, channels, 1, 1)
        found[f'fire{number}.expand1x1'] = (expand, squeeze, 1, 1)
        found[f'fire{number}.expand3x3'] = (expand, squeeze, 3, 3)
        channels = 2 * expand
    found['conv10'] = (CLASSES, channels, 1, 1)
    return found


def read(path: str | os.PathLike[str]) -> dict[str, Layer]:
    """Return the layers in the file at ``path``. Raises ImportFailed, which names the file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImportFailed(f'{path}: {error.strerror or error}; check the path') from error
    try:
        return decode(data)
    except ImportFailed as error:
        raise ImportFailed(f'{path}: {error}') from error


def decode(data: bytes) -> dict[str, Layer]:
    """Return the layers in ``data``, a whole file's bytes. Raises ImportFailed."""
    wanted = shapes()
    if len(data) < 4 * len(wanted):
        raise ImportFailed(f'{len(data)} bytes are too few for a .net file; get it again')
    counts = np.frombuffer(data, '<u4', len(wanted)).astype(np.int64)
    for (name, shape), count in zip(wanted.items(), counts, strict=True):
        if count > np.prod(shape):
            raise ImportFailed(
                f'{name} claims {count:,} entries but has {np.prod(shape):,} '
                'weights; this is another network or the file is damaged'
            )
    expected = 4 * len(wanted) + sum(map(_stored_bytes, wanted.values(), counts))
    if len(data) != expected:
        raise ImportFailed(f'{len(data):,} bytes, not {expected:,}; get the file again')
    reader = _Reader(data, 4 * len(wanted))
    return {
        name: _layer(reader, name, shape, count)
        for (name, shape), count in zip(wanted.items(), counts.tolist(), strict=True)
    }


def to_model(
    layers: Mapping[str, Layer],
    labels: tuple[str, ...],
    identity: Identity,
    dtype: str = 'float16',
) -> Model:
    """Return ``layers``, named as in ``shapes``, as a model with Caffe's preprocessing."""
    assembler = Assembler(dtype)
    assembler.conv('conv1', layers['conv1'], stride=2)
    assembler.relu()
    assembler.max_pool('pool1')
    for number in range(2, len(FIRES) + 2):
        fire = f'fire{number}'
        parts = ('squeeze1x1', 'expand1x1', 'expand3x3')
        squeeze, expand1x1, expand3x3 = (layers[f'{fire}.{part}'] for part in parts)
        assembler.fire(fire, squeeze, expand1x1, expand3x3)
        if fire in POOLS_AFTER:
            assembler.max_pool(f'pool{number}')
    assembler.conv('conv10', layers['conv10'])
    assembler.relu()
    assembler.average()
    return assembler.finish(identity, SPEC, labels)


class _Reader:
    """Takes arrays off the front of bytes whose length was checked before."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data, self.offset = data, offset

    def take(self, dtype: str, count: int) -> NDArray:
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += values.nbytes
        return values


def _stored_bytes(shape: Shape, entries: int) -> int:
    return 4 * CODEBOOK + 4 * shape[0] + int(entries) + -(-int(entries) // 2)


def _layer(reader: _Reader, name: str, shape: Shape, entries: int) -> Layer:
    codebook = reader.take('<f4', CODEBOOK)
    bias = reader.take('<f4', shape[0])
    codes = reader.take('u1', entries)
    packed = reader.take('u1', -(-entries // 2))
    if not (np.isfinite(codebook).all() and np.isfinite(bias).all()):
        raise ImportFailed(f'{name} holds values that are not finite; the file is damaged')
    if codebook[0] != 0:
        raise ImportFailed(
            f'{name} has {codebook[0]:.3g}, not zero, for the weights left out; '
            'the file is damaged'
        )
    gaps = np.stack((packed & 15, packed >> 4), axis=1).reshape(-1)  # one too many if odd
    if gaps[entries:].any():
        raise ImportFailed(f'{name} has a gap after its last entry; the file is damaged')
    positions = np.cumsum(gaps[:entries].astype(np.int64) + 1) - 1
    size = int(np.prod(shape))
    if entries and positions[-1] >= size:
        raise ImportFailed(
            f'{name} puts an entry at {positions[-1]:,} of {size:,} weights; the file is damaged'
        )
    weight = np.zeros(size, np.float32)
    weight[positions] = codebook[codes]
    return Layer(weight.reshape(shape), bias.astype(np.float32))
