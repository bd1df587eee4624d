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
"""ONNX Runtime on the CPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed
from sqz_perception.inference import processor
from sqz_perception.inference.backend import Backend
from sqz_perception.model.graph import INPUT, OUTPUT, Graph, to_graph
from sqz_perception.model.network import Model

PRECISIONS = ('int8', 'fp32')
PROVIDER = 'CPUExecutionProvider'
HEAVY = 2**27  # bytes of large weights
FATAL = 4  # log level: an error reaches us as an exception, its log line adds nothing


def check(model: Model, precision: str) -> None:
    """Raise BackendUnavailable or ModelFloatOnly where ``model`` cannot run in ``precision``."""
    processor.check_precision(model, precision, 'onnxruntime', PRECISIONS)


def build(model: Model, precision: str, threads: int) -> Backend:
    """Return ``model`` ready to run on the CPU. Raises BackendFailed."""
    return build_graph(to_graph(model, int8=precision == 'int8'), precision, threads)


def build_graph(graph: Graph, precision: str, threads: int) -> Backend:
    """Return ``graph`` ready to run on the CPU. Raises BackendFailed."""
    try:
        return _OnnxRuntime(session(graph, threads), precision, threads)
    except Exception as error:  # its exceptions share no base class but Exception
        raise BackendFailed(f'ONNX Runtime refused the model: {_first_line(error)}') from error


def session(graph: Graph, threads: int) -> onnxruntime.InferenceSession:
    """Return ``graph`` ready to run. Its large weights are copied once."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL
    # The idle threads of the pool would spin on cores that the robot needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    if sum(values.nbytes for values in graph.weights.values()) > HEAVY:
        # Optimising the layout copies all weights, up to four times what the model needs.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    for name, values in graph.weights.items():
        graph.proto.graph.initializer.append(_announced(name, values))
    lent = [onnxruntime.OrtValue.ortvalue_from_numpy(values) for values in graph.weights.values()]
    options.add_external_initializers(list(graph.weights), lent)
    return onnxruntime.InferenceSession(graph.proto.SerializeToString(), options, [PROVIDER])


def _announced(name: str, values: NDArray) -> onnx.TensorProto:
    """Return the description of a weight whose values are elsewhere."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=values.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (('location', 'lent'), ('offset', 0), ('length', values.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


class _OnnxRuntime:
    def __init__(
        self, session: onnxruntime.InferenceSession, precision: str, threads: int
    ) -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self.precision = precision
        count = f'{threads} threads' if threads else 'its own number of threads'
        version = onnxruntime.__version__
        self.description = f'ONNX Runtime {version} on the CPU, {precision}, {count}'

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        session = self._session
        assert session is not None  # not closed
        try:
            (logits,) = session.run([OUTPUT], {INPUT: picture[None]})
        except Exception as error:  # as above
            raise BackendFailed(f'ONNX Runtime failed on a frame: {_first_line(error)}') from error
        return logits[0]

    def close(self) -> None:
        self._session = None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else 'no reason given'
