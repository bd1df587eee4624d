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
"""Graphs of any size, drawn line by line: for tests of limits, shapes and runtimes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.network import InputSpec, Model, Node, Shape, Tensor, trace


class Sketch:
    """
    Collects nodes; each method returns the new node's name and takes the last one as its input.

    Weights are int8 zeros that take no memory, or random ones after ``seed``.
    """

    def __init__(self, height: int, width: int = 0, seed: int | None = None) -> None:
        self.height, self.width = height, width or height
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.channels: dict[str, int] = {}  # that each node gives
        self._random = None if seed is None else np.random.default_rng(seed)

    def conv(
        self,
        out: int,
        channels: int,
        kernel: int,
        columns: int = 0,
        source: str = '',
        **more: int,
    ) -> str:
        name = f'n{len(self.nodes)}'
        shape = (out, channels, kernel, columns or kernel)
        if self._random is None:
            values = np.broadcast_to(np.int8(0), shape)
            bias = np.broadcast_to(np.float32(0), (out,))
        else:
            values = self._random.integers(-127, 128, shape).astype(np.int8)
            bias = self._random.normal(0, 0.1, out).astype(np.float32)
        step = np.float32(0.02 / (channels * kernel * shape[3]) ** 0.5)
        self.tensors[f'{name}.weight'] = Tensor(f'{name}.weight', values, np.array(step))
        self.tensors[f'{name}.bias'] = Tensor(f'{name}.bias', bias)
        self.node('conv', source or self.last, name=name, **more)
        self.channels[name] = out
        return name

    def node(self, op: str, *sources: str, name: str = '', **more: Any) -> str:
        name = name or f'n{len(self.nodes)}'
        sources = sources or (self.last,)
        self.nodes.append(Node(op, name, sources, **more))
        given = [self.channels.get(source, 3) for source in sources]
        self.channels[name] = sum(given) if op == 'concat' else given[0]
        return name

    @property
    def last(self) -> str:
        return self.nodes[-1].name if self.nodes else 'image'

    def model(self, classes: int, **more: Any) -> Model:
        """Return the model; its last node gives a value for each of the classes."""
        spec = InputSpec(
            self.height, self.width, max(self.height, self.width), scale=(1 / 64,) * 3
        )
        labels = tuple(f'class {i}' for i in range(classes))
        return Model('sketch', 1, 'x', '', spec, tuple(self.nodes), self.tensors, labels, **more)


def squeezenet(side: int = 227) -> Model:
    """Return SqueezeNet v1.0."""
    net = Sketch(side)
    channels = 96
    net.conv(channels, 3, 7, stride=2)
    net.node('relu')
    for squeeze in (16, 16, 32, 32, 48, 48, 64, 64):
        if squeeze in (16, 32, 64) and channels in (96, 256, 512):
            net.node('max_pool', kernel=3, stride=2, ceil=True)
        net.conv(squeeze, channels, 1)
        small = net.node('relu')
        net.conv(4 * squeeze, squeeze, 1)
        left = net.node('relu')
        net.conv(4 * squeeze, squeeze, 3, source=small, pad=1)
        net.node('concat', left, net.node('relu'))
        channels = 8 * squeeze
    net.conv(1000, channels, 1)
    net.node('relu')
    net.node('global_average_pool')
    return net.model(1000)


def alexnet() -> Model:
    """Return AlexNet without groups: 62 million parameters, most of them in three layers."""
    net = Sketch(227)
    for out, channels, kernel, stride, pad, pool in (
        (96, 3, 11, 4, 0, True),
        (256, 96, 5, 1, 2, True),
        (384, 256, 3, 1, 1, False),
        (384, 384, 3, 1, 1, False),
        (256, 384, 3, 1, 1, True),
        (4096, 256, 6, 1, 0, False),
        (4096, 4096, 1, 1, 0, False),
    ):
        net.conv(out, channels, kernel, stride=stride, pad=pad)
        net.node('relu')
        if pool:
            net.node('max_pool', kernel=3, stride=2)
    net.conv(1000, 4096, 1)
    return net.model(1000)


def resnet50() -> Model:
    net = Sketch(224)
    net.conv(64, 3, 7, stride=2, pad=3)
    net.node('relu')
    net.node('max_pool', kernel=3, stride=2, pad=1)
    channels = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            source = net.last
            stride = 2 if block == 0 and width > 64 else 1
            net.conv(width, channels, 1)
            net.node('relu')
            net.conv(width, width, 3, stride=stride, pad=1)
            net.node('relu')
            main = net.conv(4 * width, width, 1)
            if block == 0:
                source = net.conv(4 * width, channels, 1, source=source, stride=stride)
            net.node('add', main, source)
            net.node('relu')
            channels = 4 * width
    net.node('global_average_pool')
    net.conv(1000, channels, 1)
    return net.model(1000)


@st.composite
def models(draw: st.DrawFn, side: int = 12) -> Model:
    """Return any small graph that ``trace`` accepts, with random weights and some ranges."""
    net = Sketch(draw(st.integers(1, side)), draw(st.integers(1, side)), seed=0)
    net.conv(draw(st.integers(1, 4)), 3, 1)
    model = _closed(net)
    for _ in range(draw(st.integers(0, 6))):
        _draw_node(draw, net, trace(model))
        try:
            model = _closed(net)
        except ModelInvalid:
            net.nodes.pop()
    values = ['image', *(node.name for node in model.nodes)]
    reach = st.sampled_from([1e-30, 0.01, 1.0, 100.0, 1e30])
    return replace(model, ranges=draw(st.dictionaries(st.sampled_from(values), reach)))


def _draw_node(draw: st.DrawFn, net: Sketch, shapes: dict[str, Shape]) -> None:
    names = [node.name for node in net.nodes]
    source = draw(st.sampled_from(names))
    op = draw(st.sampled_from(['conv', 'relu', 'max_pool', 'concat', 'add']))
    if op == 'conv':
        out, kernel, columns, stride, pad = (
            draw(st.integers(low, high)) for low, high in ((1, 4), (1, 5), (1, 5), (1, 4), (0, 3))
        )
        net.conv(out, shapes[source][0], kernel, columns, source, stride=stride, pad=pad)
    elif op == 'max_pool':
        kernel = draw(st.integers(1, 6))
        stride, pad = draw(st.integers(1, kernel)), draw(st.integers(0, kernel // 2))
        net.node(op, source, kernel=kernel, stride=stride, pad=pad, ceil=draw(st.booleans()))
    elif op == 'relu':
        net.node(op, source)
    else:
        first = 1 if op == 'concat' else 0  # sizes that must be equal
        equal = [name for name in names if shapes[name][first:] == shapes[source][first:]]
        net.node(op, source, *draw(st.lists(st.sampled_from(equal), min_size=1, max_size=3)))


def _closed(net: Sketch) -> Model:
    """Return the sketch as a model whose last node is a pool. Raises ModelInvalid."""
    owned = {node.name for node in net.nodes}
    whole = Sketch(net.height, net.width)
    whole.nodes = [*net.nodes, Node('global_average_pool', 'logits', (net.last,))]
    whole.tensors = {
        name: tensor for name, tensor in net.tensors.items() if name.rpartition('.')[0] in owned
    }
    model = whole.model(net.channels[net.last])
    trace(model)
    return model
