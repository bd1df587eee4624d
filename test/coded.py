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
"""A small compressed model, for tests: levels, codes, every kind of step and bias, ranges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sqz_perception.model.network import InputSpec, Model, Node, Tensor
from sqz_perception.model.steps import step_of


def coded_model(seed: int = 0, channels: int = 64, zeros: float = 0.3) -> Model:
    """
    Return a model whose filters are smooth, so that neighbours say something of each other.

    ``channels`` of its middle layer, and how many of the levels are ``zeros``, set its size.
    """
    rng = np.random.default_rng(seed)
    steps = step_of(rng.integers(-60, -50, channels))
    tensors = [
        Tensor('conv1.weight', levels(rng, 8, 3, 3, zeros), step_of(-40)),
        Tensor('conv1.bias', levels(rng, 8, 1, 1, zeros).reshape(8), step_of(-64)),
        Tensor('conv2.weight', levels(rng, channels, 8, 3, zeros), steps),
        Tensor('conv2.bias', rng.normal(0, 0.1, channels).astype(np.float32)),
        Tensor('conv3.weight', levels(rng, 16, channels, 1, zeros), np.float32(0.01)),
        Tensor('conv3.bias', np.zeros(16, np.float32)),
        Tensor('conv10.weight', *_codes(rng, (3, 16, 1, 1))),
        Tensor('conv10.bias', rng.normal(0, 0.1, 3).astype(np.float16)),
    ]
    return Model(
        name='coded',
        release=3,
        licence='Apache-2.0',
        description='smooth random weights, for tests',
        input=InputSpec(16, 16, 20),
        nodes=(
            Node('conv', 'conv1', ('image',)),
            Node('conv', 'conv2', ('conv1',), stride=2),
            Node('conv', 'conv3', ('conv2',)),
            Node('conv', 'conv10', ('conv3',)),
            Node('global_average_pool', 'logits', ('conv10',)),
        ),
        tensors={tensor.name: tensor for tensor in tensors},
        labels=('dock', 'person', 'shelf'),
        ranges={'image': 128.0, 'conv1': 3.5, 'conv2': 2.25},
    )


def later_release(model: Model) -> Model:
    """Return ``model`` with every kind of change that a delta can hold, and other labels."""
    rng = np.random.default_rng(1)
    tensors = dict(model.tensors)

    def change(name: str, **fields: object) -> None:
        tensors[name] = replace(tensors[name], **fields)

    old = tensors['conv2.weight'].values
    drift = rng.integers(-1, 2, old.shape) * (rng.random(old.shape) < 0.1)
    change('conv2.weight', values=np.clip(old + drift, -127, 127).astype(np.int8))
    change('conv1.weight', step=step_of(-42))
    change('conv3.bias', values=np.full(16, -0.0, np.float32))
    change('conv3.weight', step=np.float32(0.011))
    codes = tensors['conv10.weight'].values
    tensors['conv10.weight'] = Tensor(
        'conv10.weight', np.concatenate([codes, codes[:1]]), None, np.float32([-0.1, 0, 0.1] * 5)
    )
    change('conv10.bias', values=np.float16([0.5, 0.25, 0.125, 1.0]))
    return replace(
        model, release=4, tensors=tensors, labels=('dock', 'person', 'shelf', 'charger')
    )


def levels(
    rng: np.random.Generator, out: int, channels: int, kernel: int, zeros: float = 0.3
) -> NDArray[np.int8]:
    """Return int8 (out, in, kernel, kernel), alike within a kernel, ``zeros`` of them zero."""
    common = rng.laplace(0, 3, (out, channels, 1, 1))
    if kernel == 1:
        common = np.cumsum(common, axis=0) / np.arange(1, out + 1)[:, None, None, None] ** 0.5
    values = common + rng.laplace(0, 1.5, (out, channels, kernel, kernel))
    values[rng.random(values.shape) < zeros] = 0
    return np.clip(np.rint(values), -127, 127).astype(np.int8)


def _codes(
    rng: np.random.Generator, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], None, NDArray[np.float32]]:
    codebook = np.unique(np.append(rng.normal(0, 0.1, 14), 0).astype(np.float32))
    return rng.integers(0, len(codebook), shape).astype(np.uint8), None, codebook
