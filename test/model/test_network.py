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
"""Shapes, sizes and the self-test's pictures."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import Sketch
from sqz_perception.errors import ModelInvalid
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import (
    InputSpec,
    Node,
    Tensor,
    multiply_adds,
    self_test_picture,
    trace,
)
from tiny import tiny_model


@given(st.integers(16, 64))
def test_trace_agrees_with_onnx(side: int) -> None:
    model = tiny_model(side=side)
    inferred = onnx.shape_inference.infer_shapes(to_onnx(model), strict_mode=True)
    shapes = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)[1:]
        for value in inferred.graph.value_info
    }
    ours = trace(model)
    assert {name: shapes[name] for name in ours} == ours


def test_the_graph_is_valid_onnx() -> None:
    onnx.checker.check_model(to_onnx(tiny_model()), full_check=True)


def test_multiply_adds() -> None:
    # conv1: 11x11 outputs of 8x3x3x3; squeeze 5x5 of 4x8; expands 5x5 of 4x4 and 4x4x3x3; conv10.
    assert multiply_adds(tiny_model()) == 121 * 216 + 25 * (32 + 16 + 144 + 40)


def replaced(node_name: str, /, **change: object) -> dict:
    nodes = tuple(
        replace(node, **change) if node.name == node_name else node for node in tiny_model().nodes
    )
    return {'nodes': nodes}


def tensor(name: str, shape: tuple[int, ...]) -> dict:
    tensors = {**tiny_model().tensors, name: Tensor(name, np.zeros(shape, np.float32))}
    return {'tensors': tensors}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (replaced('relu1', op='tanh'), 'unknown operation'),
        (replaced('relu1', name='conv1'), 'stands for two nodes'),
        (replaced('relu1', name='image'), 'stands for two nodes'),
        (replaced('relu1', inputs=('conv10',)), 'which no node before gives'),
        (replaced('relu1', inputs=('image',)), 'only a conv may'),
        (replaced('relu1', inputs=()), 'takes 0 inputs'),
        (replaced('relu1', inputs=('conv1', 'conv1')), 'takes 2 inputs'),
        (replaced('expand', inputs=('expand1x1',)), 'takes 1 inputs'),
        (replaced('expand', inputs=('expand1x1', 'relu1')), 'different sizes'),
        (replaced('bypass', inputs=('expand', 'squeeze')), 'different shapes'),
        (replaced('pool1', stride=4), 'skips or pads too far'),
        (replaced('pool1', kernel=33), 'a pool of 33; at most 32'),
        (replaced('pool1', kernel=30), 'impossible output'),
        (replaced('conv1', pad=4096, stride=1), 'impossible output'),
        (tensor('squeeze.weight', (4, 7, 1, 1)), 'meets 8 channels'),
        (tensor('squeeze.weight', (4, 8)), 'meets 8 channels'),
        (tensor('squeeze.bias', (5,)), 'meets 4 channels'),
        (tensor('stray.weight', (1,)), 'belongs to no node'),
        ({'tensors': {}}, 'lacks its weight'),
        ({'labels': ('one', 'two')}, 'not one value for 2 labels'),
        ({'nodes': (), 'tensors': {}}, 'no nodes'),
    ],
)
def test_what_does_not_fit_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        trace(replace(tiny_model(), **change))


def test_a_last_window_in_the_padding_does_not_count() -> None:
    model = tiny_model()
    nodes = [replace(n, pad=1) if n.name == 'pool1' else n for n in model.nodes]
    assert trace(replace(model, nodes=tuple(nodes)))['pool1'] == (8, 6, 6)
    small = Node('max_pool', 'pool1', ('relu1',), kernel=2, stride=2, pad=1, ceil=True)
    nodes = [small if n.name == 'pool1' else n for n in model.nodes]
    changed = replace(model, nodes=tuple(nodes))
    assert trace(changed)['pool1'] == (8, 6, 6)


def test_a_pool_larger_than_its_padded_picture_is_refused() -> None:
    net = Sketch(2)
    net.conv(4, 3, 1)
    net.node('max_pool', kernel=5, pad=1, stride=5, ceil=True)
    with pytest.raises(ModelInvalid, match='impossible output'):
        trace(net.model(4))


def test_levels_times_step() -> None:
    levels = np.array([[[[2]]], [[[-3]]]], np.int8)
    whole = Tensor('w', levels, np.float32(0.5).reshape(()))
    assert whole.dense().ravel().tolist() == [1.0, -1.5]
    channels = Tensor('w', levels, np.float32([0.5, 2.0]))
    assert channels.dense().ravel().tolist() == [1.0, -6.0]


def test_the_self_tests_picture_is_specified_to_the_byte() -> None:
    picture = self_test_picture(7, InputSpec(20, 12, 20))
    assert picture.shape == (20, 12, 3)
    colours = np.frombuffer(hashlib.shake_128(b'\7' + b'\0' * 7).digest(18), np.uint8)
    assert np.array_equal(picture[::8, ::8].ravel(), colours)
    assert np.array_equal(picture[5:8, :8], np.broadcast_to(picture[0, 0], (3, 8, 3)))
