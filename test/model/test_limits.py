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
"""The limits leave room for real networks and refuse small files that claim to be huge."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from graphs import Sketch, alexnet, resnet50, squeezenet
from sqz_perception.errors import ModelInvalid
from sqz_perception.model import file, limits, metadata
from sqz_perception.model.network import Model, SelfTest, multiply_adds, trace
from tiny import tiny_model


@pytest.mark.parametrize(
    ('model', 'macs', 'parameters'),
    [
        (squeezenet(), 832_667_936, 1_248_424),
        (alexnet(), 1_135_256_096, 62_378_344),
        (resnet50(), 4_089_184_256, 25_530_472),
    ],
    ids=['squeezenet', 'alexnet', 'resnet50'],
)
def test_real_networks_fit_twice(model: Model, macs: int, parameters: int) -> None:
    assert (multiply_adds(model), model.parameters) == (macs, parameters)
    metadata.decode(metadata.encode(model))
    values = [np.prod(shape) for shape in trace(model).values()]
    assert 2 * len(model.nodes) <= limits.MAX_NODES
    assert 2 * sum(len(node.inputs) for node in model.nodes) <= limits.MAX_INPUTS
    assert 2 * model.parameters <= limits.MAX_PARAMETERS
    assert 2 * max(values) <= limits.MAX_NODE_VALUES
    assert 2 * sum(values) <= limits.MAX_VALUES
    assert 2 * macs <= limits.MAX_WORK


def large_kernel() -> Model:
    """Return the file that once gave no answer in 85 s: 256 x 256 pixels on 4096 x 4096."""
    net = Sketch(4096)
    net.conv(1, 3, 256)
    net.node('global_average_pool')
    return net.model(1)


def many_multiplications() -> Model:
    net = Sketch(1024)
    net.conv(32, 3, 32)
    net.node('global_average_pool')
    return net.model(32)


def many_comparisons() -> Model:
    net = Sketch(1024)
    net.conv(4, 3, 1)
    net.node('max_pool', kernel=32, stride=1)
    net.node('global_average_pool')
    return net.model(4)


def many_adds() -> Model:
    net = Sketch(32)
    net.conv(4, 3, 1)
    for _ in range(4000):
        net.node('add', net.last, net.last)
    net.node('global_average_pool')
    return net.model(4)


def many_inputs() -> Model:
    net = Sketch(32)
    net.conv(4, 3, 1)
    for _ in range(11):
        net.node('add', *[net.last] * 32)
    net.node('global_average_pool')
    return net.model(4)


def wide_add() -> Model:
    net = Sketch(32)
    net.conv(4, 3, 1)
    net.node('add', *[net.last] * 33)
    net.node('global_average_pool')
    return net.model(4)


def large_pool() -> Model:
    net = Sketch(64)
    net.conv(4, 3, 1)
    net.node('max_pool', kernel=33, stride=1)
    net.node('global_average_pool')
    return net.model(4)


def large_values() -> Model:
    net = Sketch(1024)
    net.conv(33, 3, 1)
    net.node('global_average_pool')
    return net.model(33)


def many_values() -> Model:
    net = Sketch(1024)
    net.conv(16, 3, 1)
    for _ in range(8):
        net.node('relu')
    net.node('global_average_pool')
    return net.model(16)


def many_parameters() -> Model:
    net = Sketch(1)
    net.conv(11_000, 3, 1)
    net.conv(11_000, 11_000, 1)
    net.conv(1500, 11_000, 1)
    return net.model(1500)


def many_questions() -> Model:
    net = Sketch(256)
    net.conv(32, 3, 32)
    net.node('global_average_pool')
    test = SelfTest(tuple(range(64)), ((0,),) * 64, ((0.0,),) * 64)
    return net.model(32, self_test=test)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (large_kernel, r"'n0.weight' has a kernel of 256x256; at most 32"),
        (large_pool, r'kernel is not a whole number from 1 to 32'),
        (
            many_multiplications,
            r'a picture takes 96,\d{3},\d{3},\d{3} multiplications; at most 8,',
        ),
        (many_comparisons, r'a picture takes 32,\d{3},\d{3},\d{3} multiplications; at most 8,'),
        (many_adds, r'nodes is not a list of at most 256 values'),
        (many_inputs, r'the nodes have 354 inputs; at most 320 together'),
        (wide_add, r"node 'n1' \(add\) takes 33 inputs"),
        (large_values, r"node 'n0' gives an impossible output \(33, 1024, 1024\)"),
        (many_values, r'the nodes give 154,\d{3},\d{3} values; at most 134,217,728 together'),
        (many_parameters, r'137,\d{3},\d{3} parameters; at most 134,217,728'),
        (many_questions, r'the self-test has 64 questions of \d,\d{3},\d{3},\d{3} mult'),
    ],
)
def test_a_model_beyond_a_limit_is_refused_at_once(
    make: Callable[[], Model], message: str
) -> None:
    model = make()
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(ModelInvalid, match=message):
        trace(metadata.decode(metadata.encode(model)).outline())
    assert time.perf_counter() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()
    with pytest.raises(ModelInvalid, match=message):
        file.encode(model)


def test_equal_labels_are_refused() -> None:
    labels = ('dock', 'shelf', 'person', 'shelf', 'bucket')
    message = "the classes 1 and 3 both have the label 'shelf'; give each class a label of its own"
    with pytest.raises(ModelInvalid, match=message):
        file.encode(replace(tiny_model(), labels=labels))
