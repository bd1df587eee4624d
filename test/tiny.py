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
"""A small model with every operation in it, made from a seed: for tests that need some model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sqz_perception.model.network import (
    InputSpec,
    Model,
    Node,
    SelfTest,
    Tensor,
    self_test_picture,
)

Keep = Callable[[str, np.ndarray], np.ndarray]

NEVER_NEGATIVE = ('relu1', 'relu2')
LABELS = ('bucket', 'charger', 'dock', 'person', 'shelf')


def tiny_model(
    seed: int = 0,
    *,
    release: int = 1,
    side: int = 24,
    color: str = 'rgb',
    labels: tuple[str, ...] = LABELS,
    dtype: type = np.float16,
    bias: float = 0.0,
    bypass: bool = True,
) -> Model:
    """
    Return a fire module between two convolutions, with random weights of type ``dtype``.

    ``bias`` is added to the first class's logit, so that a test can choose the winner.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, Tensor] = {}

    def conv(name: str, out: int, channels: int, kernel: int, source: str, **more: int) -> Node:
        weight = rng.normal(
            0, (2 / (channels * kernel**2)) ** 0.5, (out, channels, kernel, kernel)
        )
        tensors[f'{name}.weight'] = _tensor(f'{name}.weight', weight, dtype)
        tensors[f'{name}.bias'] = Tensor(
            f'{name}.bias', rng.normal(0, 0.1, out).astype(np.float32)
        )
        return Node('conv', name, (source,), **more)

    nodes = (
        conv('conv1', 8, 3, 3, 'image', stride=2),
        Node('relu', 'relu1', ('conv1',)),
        Node('max_pool', 'pool1', ('relu1',), kernel=3, stride=2, ceil=True),
        conv('squeeze', 4, 8, 1, 'pool1'),
        conv('expand1x1', 4, 4, 1, 'squeeze'),
        conv('expand3x3', 4, 4, 3, 'squeeze', pad=1),
        Node('concat', 'expand', ('expand1x1', 'expand3x3')),
        *((Node('add', 'bypass', ('expand', 'pool1')),) if bypass else ()),
        Node('relu', 'relu2', ('bypass' if bypass else 'expand',)),
        conv('conv10', len(labels), 8, 1, 'relu2'),
        Node('global_average_pool', 'logits', ('conv10',)),
    )
    first = tensors['conv10.bias'].values.copy()
    first[0] += bias
    tensors['conv10.bias'] = Tensor('conv10.bias', first)
    return Model(
        name='tiny',
        release=release,
        licence='Apache-2.0',
        description='random weights, for tests',
        input=InputSpec(
            side, side, side + 4, color, (120.0, 110.0, 100.0), (1 / 60.0, 1 / 61.0, 1 / 62.0)
        ),
        nodes=nodes,
        tensors=tensors,
        labels=labels,
        self_test=SelfTest(),
    )


def int8_model(seed: int = 0, *, reach: float = 1.0, **more: Any) -> Model:
    """
    Return ``tiny_model`` with int8 levels and with the ranges of a few pictures.

    ``reach`` is the range in parts of the largest magnitude: below 1, int8 clips.
    """
    model = tiny_model(seed, dtype=np.int8, **more)
    ranges: dict[str, float] = {}

    def keep(name: str, values: np.ndarray) -> np.ndarray:
        ranges[name] = max(ranges.get(name, 0.0), reach * float(np.abs(values).max()))
        return values

    for number in range(4):
        reference(model, self_test_picture(number, model.input), keep)
    return replace(model, ranges=ranges)


def kept_by_int8(ranges: Mapping[str, float], signed: bool = False) -> Keep:
    """Return what rounds a value to 8 bits and back."""

    def keep(name: str, values: np.ndarray) -> np.ndarray:
        if name not in ranges:
            return values
        low, high, count = (-128, 127, 127)
        if name in NEVER_NEGATIVE and not signed:
            low, high, count = (0, 255, 255)
        step = float(np.float32(ranges[name] / count))
        return np.clip(np.rint(values / step), low, high) * step

    return keep


def with_one_step(model: Model) -> Model:
    """Return the model with one step for each tensor in place of one for each channel."""
    tensors = dict(model.tensors)
    for node in model.convolutions:
        dense = model.tensors[node.weight].dense()
        step = np.array(np.abs(dense).max() / 127, np.float32)
        levels = np.rint(dense / step).astype(np.int8)
        tensors[node.weight] = Tensor(node.weight, levels, step)
    return replace(model, tensors=tensors)


def everything(name: str, values: np.ndarray) -> np.ndarray:
    """Keep all of a value, as floating point does."""
    return values


def reference(model: Model, picture: np.ndarray, keep: Keep = everything) -> np.ndarray:
    """
    Compute the tiny model's logits in float64 with loops that leave no room for doubt.

    ``keep`` is given each value that a convolution takes, and its name; what it returns takes the
    value's place.
    """

    def conv(name: str, x: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
        weight = model.tensors[f'{name}.weight'].dense().astype(np.float64)
        bias = model.tensors[f'{name}.bias'].dense().astype(np.float64)
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        kernel = weight.shape[2]
        rows = (x.shape[1] - kernel) // stride + 1
        columns = (x.shape[2] - kernel) // stride + 1
        out = np.empty((len(weight), rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = x[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                out[:, r, c] = np.tensordot(weight, patch, 3) + bias
        return out

    def pool(x: np.ndarray) -> np.ndarray:
        side = -(-(x.shape[1] - 3) // 2) + 1
        return np.array(
            [
                [x[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max(axis=(1, 2)) for c in range(side)]
                for r in range(side)
            ]
        ).transpose(2, 0, 1)

    x = picture.astype(np.float64).transpose(2, 0, 1)
    if model.input.color == 'rgb':
        x = x[::-1]
    mean, scale = (np.reshape(v, (3, 1, 1)) for v in (model.input.mean, model.input.scale))
    image = keep('image', (x - mean) * scale)
    pool1 = pool(keep('relu1', np.maximum(conv('conv1', image, stride=2), 0)))
    squeeze = keep('squeeze', conv('squeeze', pool1))
    expand = np.concatenate([conv('expand1x1', squeeze), conv('expand3x3', squeeze, pad=1)])
    if any(node.name == 'bypass' for node in model.nodes):
        expand = expand + pool1
    return conv('conv10', keep('relu2', np.maximum(expand, 0))).mean(axis=(1, 2))


def with_answers(model: Model) -> Model:
    """Return the model with a self-test whose answers are right, those of int8 too if it can."""
    seeds = (1, 2)
    classes = (tuple(range(len(model.labels))),) * len(seeds)

    def answers(keep: Keep = everything) -> tuple[tuple[float, ...], ...]:
        pictures = [self_test_picture(seed, model.input) for seed in seeds]
        return tuple(tuple(reference(model, picture, keep).tolist()) for picture in pictures)

    int8 = answers(kept_by_int8(model.ranges)) if model.ranges else ()
    return replace(model, self_test=SelfTest(seeds, classes, answers(), int8))


def _tensor(name: str, weight: np.ndarray, dtype: type) -> Tensor:
    if dtype is not np.int8:
        return Tensor(name, weight.astype(dtype))
    step = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    levels = np.rint(weight / step[:, None, None, None]).astype(np.int8)
    return Tensor(name, levels, step)
