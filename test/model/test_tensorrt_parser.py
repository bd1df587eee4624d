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
TensorRT's own parser and builder on our graphs; neither needs a GPU.

The wheels are large (100 MB), so the set-up does not install them:
pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings
"""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest

from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import Model
from tiny import int8_model, tiny_model, with_one_step

trt = pytest.importorskip(
    'tensorrt_rtx_bindings',
    reason='TensorRT is not installed: pip install tensorrt-rtx-cu13-libs '
    'tensorrt-rtx-cu13-bindings',
)


def without(model: Model, value: str) -> Model:
    return replace(model, ranges={k: reach for k, reach in model.ranges.items() if k != value})


def plan(graph: onnx.ModelProto) -> bytes:
    """Return what TensorRT builds of ``graph`` for a GPU of compute capability 8.6."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse(graph.SerializeToString())
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    built = builder.build_serialized_network(network, config)
    assert built is not None
    return bytes(built)


def test_it_builds_the_graph_in_fp32() -> None:
    assert plan(to_onnx(tiny_model()))


@pytest.mark.parametrize(
    'model',
    [
        int8_model(),
        int8_model(color='bgr'),
        with_one_step(int8_model()),
        without(int8_model(), 'image'),
        without(int8_model(), 'relu2'),
    ],
    ids=['rgb', 'bgr', 'one step', 'first in fp32', 'last in fp32'],
)
def test_it_builds_the_signed_graph_in_int8(model: Model) -> None:
    assert plan(to_onnx(model, int8=True, signed=True))
