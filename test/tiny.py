# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A small model with every operation in it, made from a seed: for tests that need some model."""

from __future__ import annotations

import numpy as np

from sqz_perception.model.network import InputSpec, Model, Node, SelfTest, Tensor

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
        Node('add', 'bypass', ('expand', 'pool1')),
        Node('relu', 'relu2', ('bypass',)),
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


def _tensor(name: str, weight: np.ndarray, dtype: type) -> Tensor:
    if dtype is not np.int8:
        return Tensor(name, weight.astype(dtype))
    step = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    levels = np.rint(weight / step[:, None, None, None]).astype(np.int8)
    return Tensor(name, levels, step)
