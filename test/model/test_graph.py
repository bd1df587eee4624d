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
"""The int8 graph: what each runtime makes of it, beside NumPy with the same values rounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnxruntime import InferenceSession, SessionOptions

from graphs import models
from sqz_perception.errors import ModelFloatOnly
from sqz_perception.inference import onnxruntime, openvino
from sqz_perception.inference.backend import Backend
from sqz_perception.inference.processor import adds_int8_exactly
from sqz_perception.model.graph import to_graph, to_onnx
from sqz_perception.model.int8 import int8_inputs, runs_in_int8
from sqz_perception.model.network import Model, Tensor, self_test_picture, trace
from tiny import int8_model, kept_by_int8, reference, tiny_model, with_one_step

needs_int8 = pytest.mark.skipif(not adds_int8_exactly(127), reason='this processor has no VNNI')
RUNTIMES = {'openvino': openvino, 'onnxruntime': onnxruntime}
VALUES = ('image', 'relu1', 'squeeze', 'relu2')  # what the tiny model's convolutions take


def backend_of(name: str, model: Model, signed: bool = False) -> Backend:
    return RUNTIMES[name].build_graph(to_graph(model, int8=True, signed=signed), 'int8', 1)


def assert_agrees(backend: Backend, model: Model, signed: bool = False) -> None:
    """Assert that the backend rounds as NumPy does, and that rounding and clipping show."""
    keep = kept_by_int8(model.ranges, signed)
    shown = 0.0
    for seed in range(5, 10):
        picture = self_test_picture(seed, model.input)
        expected = reference(model, picture, keep)
        # A value between two levels may fall to either side; one level of one value is less.
        assert backend.logits(picture) == pytest.approx(expected, abs=0.01)
        shown = max(shown, np.abs(expected - reference(model, picture)).max())
    assert shown > 0.05


@needs_int8
@pytest.mark.parametrize('name', RUNTIMES)
@pytest.mark.parametrize('color', ['bgr', 'rgb'])
@pytest.mark.parametrize('steps', ['channel', 'tensor'])
@pytest.mark.parametrize('bypass', [True, False])
def test_int8_rounds_what_the_ranges_say(name: str, color: str, steps: str, bypass: bool) -> None:
    model = int8_model(1, color=color, reach=0.6, bypass=bypass)
    model = with_one_step(model) if steps == 'tensor' else model
    assert_agrees(backend_of(name, model), model)


@needs_int8
def test_signed_int8_rounds_to_half_as_many_levels() -> None:
    model = int8_model(1, reach=0.6)
    assert_agrees(backend_of('onnxruntime', model, signed=True), model, signed=True)


@needs_int8
@pytest.mark.parametrize('name', RUNTIMES)
@pytest.mark.parametrize('missing', VALUES)
def test_a_convolution_without_a_range_stays_in_floating_point(name: str, missing: str) -> None:
    model = int8_model(2, reach=0.6)
    ranges = {key: reach for key, reach in model.ranges.items() if key != missing}
    model = replace(model, ranges=ranges)
    assert set(int8_inputs(model).values()) == set(ranges)
    assert_agrees(backend_of(name, model), model)


@needs_int8
@pytest.mark.parametrize('name', RUNTIMES)
def test_a_convolution_without_levels_stays_in_floating_point(name: str) -> None:
    model = int8_model(3, reach=0.6)
    dense = Tensor('conv10.weight', model.tensors['conv10.weight'].dense())
    model = replace(model, tensors={**model.tensors, 'conv10.weight': dense})
    assert 'conv10' not in int8_inputs(model)
    ranges = {key: reach for key, reach in model.ranges.items() if key != 'relu2'}
    assert_agrees(backend_of(name, model), replace(model, ranges=ranges))


@pytest.mark.parametrize(('signed', 'unsigned'), [(False, 2), (True, 0)])
def test_what_tensorrt_refuses_is_not_in_the_graph(signed: bool, unsigned: int) -> None:
    graph = to_onnx(int8_model(), int8=True, signed=signed)
    onnx.checker.check_model(graph, full_check=True)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.graph.initializer}
    zeros = Counter[str]()
    for node in graph.graph.node:
        if node.op_type == 'QuantizeLinear':
            zero = constants[node.input[2]]
            assert zero == 0
            zeros[zero.dtype.name] += 1
    assert zeros == +Counter({'uint8': unsigned, 'int8': 4 - unsigned})
    assert all(values.dtype != np.int32 for values in constants.values())  # no quantised bias


def openvino_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    graph = openvino.core().read_model(to_onnx(model).SerializeToString())
    return {op.get_friendly_name(): tuple(op.output(0).shape)[1:] for op in graph.get_ops()}


def onnxruntime_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    graph = to_onnx(model)
    graph.graph.output.extend(onnx.ValueInfoProto(name=node.name) for node in model.nodes)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(graph.SerializeToString(), options, ['CPUExecutionProvider'])
    names = [node.name for node in model.nodes]
    values = session.run(names, {'/picture': self_test_picture(0, model.input)[None]})
    return {name: value.shape[1:] for name, value in zip(names, values, strict=True)}


@given(models())
@settings(max_examples=80, deadline=None)
def test_every_runtime_gives_the_shapes_that_trace_says(model: Model) -> None:
    expected = {name: shape for name, shape in trace(model).items() if name != 'image'}
    assert onnxruntime_shapes(model) == expected
    found = openvino_shapes(model)  # without the nodes that nothing reads
    assert {name: found.get(name, shape) for name, shape in expected.items()} == expected


def test_int8_of_a_model_in_floating_point_is_a_named_error() -> None:
    for model in (tiny_model(), tiny_model(dtype=np.int8)):
        assert not runs_in_int8(model)
        with pytest.raises(ModelFloatOnly, match='tiny has no int8 weights with activation range'):
            to_onnx(model, int8=True)


def test_the_fp32_graph_of_an_int8_model_has_nothing_quantised() -> None:
    graph = to_onnx(int8_model())
    assert not [node for node in graph.graph.node if 'uantize' in node.op_type]
