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
"""OpenVINO on the CPU."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed
from sqz_perception.inference import processor
from sqz_perception.inference.backend import Backend
from sqz_perception.model.graph import Graph, to_graph
from sqz_perception.model.network import Model

# Else OpenVINO reports each import to its maker: over the network, from a process forked off
# this one, under an id that it leaves in the home folder. No robot should do that unasked.
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
import openvino  # noqa: E402

DEVICE = 'CPU'
# Our word for a precision: OpenVINO's for the layers that the graph does not quantise.
HINTS = {'int8': 'f32', 'bf16': 'bf16', 'fp32': 'f32'}
PRECISIONS = tuple(HINTS)


@cache
def core() -> openvino.Core:
    """
    Return OpenVINO's entry, one for the whole process.

    Each brings a stack for the thread's signals along. When it goes, the stack goes too, but of
    several the thread may keep on to one that is gone: the next Ctrl-C then ends in a crash.
    """
    return openvino.Core()


def check(model: Model, precision: str) -> None:
    """Raise BackendUnavailable or ModelFloatOnly where ``model`` cannot run in ``precision``."""
    found = core().get_property(DEVICE, 'OPTIMIZATION_CAPABILITIES')
    here = tuple(name for name in PRECISIONS if name.upper() in found)
    processor.check_precision(model, precision, 'openvino', here)


def build(model: Model, precision: str, threads: int) -> Backend:
    """Return ``model`` compiled for this processor. Raises BackendFailed."""
    return build_graph(to_graph(model, int8=precision == 'int8'), precision, threads)


def build_graph(graph: Graph, precision: str, threads: int) -> Backend:
    """Return ``graph`` compiled for this processor. Raises BackendFailed."""
    try:
        return compiled(read(graph), precision, threads)
    except RuntimeError as error:
        raise BackendFailed(f'OpenVINO refused the model: {_first_line(error)}') from error


def read(graph: Graph) -> openvino.Model:
    """Return OpenVINO's form of ``graph``; no large weight is copied. Raises RuntimeError."""
    for name, values in graph.weights.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        described = onnx.helper.make_tensor_value_info(name, kind, values.shape)
        graph.proto.graph.input.append(described)
    model = core().read_model(graph.proto.SerializeToString())
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name()
        if name not in graph.weights:
            continue
        constant = openvino.op.Constant(graph.weights[name], shared_memory=True)
        for reader in parameter.output(0).get_target_inputs():
            reader.replace_source_output(constant.output(0))
        model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()
    return model


def compiled(model: openvino.Model, precision: str, threads: int) -> Backend:
    """Return OpenVINO's own form of a model compiled for this processor. Raises RuntimeError."""
    settings: dict[str, object] = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': HINTS[precision],
        'ENABLE_CPU_PINNING': False,  # a robot's cores are shared
    }
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    return _OpenVino(core().compile_model(model, DEVICE, settings), precision)


class _OpenVino:
    def __init__(self, compiled: openvino.CompiledModel, precision: str) -> None:
        self._request: openvino.InferRequest | None = compiled.create_infer_request()
        self.precision = precision
        threads = compiled.get_property('INFERENCE_NUM_THREADS')
        version = openvino.__version__.split('-')[0]
        self.description = f'OpenVINO {version} on the CPU, {precision}, {threads} threads'

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        request = self._request
        assert request is not None  # not closed
        try:
            request.infer([picture[None]], share_inputs=True)
        except RuntimeError as error:
            raise BackendFailed(f'OpenVINO failed on a frame: {_first_line(error)}') from error
        return request.get_output_tensor(0).data[0].copy()

    def close(self) -> None:
        self._request = None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else 'no reason given'
