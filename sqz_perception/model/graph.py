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
A model -> an ONNX model with its weights, the one form that every runtime here reads.

The graph takes the picture as the camera gives it, uint8 (1, height, width, 3) in BGR, and gives
the logits (1, classes). Shift and scale are nodes of the graph; the colour order costs nothing,
it is folded into the first convolution's weights.

For int8 the graph says where a value is quantised and dequantised (Q/DQ), all with zero points of
zero; the runtime makes integer arithmetic of that. ``model.int8`` says where it can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sqz_perception.model.int8 import check_int8, int8_inputs, kept_levels
from sqz_perception.model.network import IMAGE, Model, Node, Tensor, trace

OPSET = 17  # read by TensorRT 10.3 (JetPack 6) and everything later
IR_VERSION = 8
INPUT = '/picture'  # a slash is in no node's name, so these can't meet one
OUTPUT = '/logits'
LARGE = 2**20  # bytes: larger weights are not copied into the ONNX model
NORMALIZED = IMAGE  # nodes of the model refer to the shifted and scaled picture by this name


@dataclass(frozen=True)
class Graph:
    """
    An ONNX model without its large weights, which ``weights`` holds by name.

    Protobuf copies a weight several times and blocks all Python threads meanwhile; a runtime takes
    the arrays as they are.
    """

    proto: onnx.ModelProto
    weights: dict[str, NDArray]


def to_onnx(model: Model, *, int8: bool = False, signed: bool = False) -> onnx.ModelProto:
    """
    Return ``model`` as a whole ONNX model, in fp32 or int8. It is taken to be checked (``trace``).

    For int8, values that are never negative become uint8, which keeps one bit more of them;
    ``signed`` makes them int8 too. TensorRT needs that: it takes uint8 for int8 with no more than
    a warning. On a CPU it is slower, and OpenVINO 2026.4 gives wrong answers where a ReLU's output
    is signed. Raises ModelFloatOnly where no convolution can run in int8.
    """
    graph = to_graph(model, int8=int8, signed=signed)
    for name, values in graph.weights.items():
        graph.proto.graph.initializer.append(numpy_helper.from_array(values, name))
    return graph.proto


def to_graph(model: Model, *, int8: bool = False, signed: bool = False) -> Graph:
    """Return ``model`` as ``to_onnx`` does, with its large weights apart."""
    if int8:
        check_int8(model)
    builder = _Int8Builder(model, signed) if int8 else _Builder(model)
    builder.preprocess()
    for node in model.nodes:
        builder.add(node)
    return builder.finish()


class _Builder:
    """Collects ONNX nodes and initializers for one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.shapes = trace(model)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.apart: dict[str, NDArray] = {}

    def preprocess(self) -> None:
        """uint8 NHWC in BGR -> float NCHW, still in BGR."""
        spec = self.model.input
        mean, scale = (np.array(values, np.float32) for values in (spec.mean, spec.scale))
        if spec.color == 'rgb':
            mean, scale = mean[::-1], scale[::-1]
        self.node('Cast', [INPUT], '/picture/float', to=TensorProto.FLOAT)
        self.node(
            'Sub', ['/picture/float', self.constant('/picture/mean', mean)], '/picture/shifted'
        )
        source = '/picture/shifted'
        if np.any(scale != 1):
            source = '/picture/scaled'
            self.node('Mul', ['/picture/shifted', self.constant('/picture/scale', scale)], source)
        self.node('Transpose', [source], NORMALIZED, perm=[0, 3, 1, 2])

    def add(self, node: Node) -> None:
        _EMITTERS[node.op](self, node)

    def finish(self) -> Graph:
        spec, classes = self.model.input, len(self.model.labels)
        self.node('Flatten', [self.read(self.model.nodes[-1].name)], OUTPUT, axis=1)
        picture = helper.make_tensor_value_info(
            INPUT, TensorProto.UINT8, [1, spec.height, spec.width, 3]
        )
        logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(
            self.nodes, self.model.name, [picture], [logits], self.initializers
        )
        opset = [helper.make_opsetid('', OPSET)]
        proto = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        return Graph(proto, self.apart)

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def constant(self, name: str, values: NDArray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def large(self, name: str, values: NDArray) -> str:
        if values.nbytes <= LARGE:
            return self.constant(name, values)
        self.apart[name] = np.ascontiguousarray(values)
        return name

    def read(self, name: str) -> str:
        """Return the ONNX value that stands for the output of the model's node ``name``."""
        return name

    def inputs(self, node: Node) -> list[str]:
        return [self.read(name) for name in node.inputs]

    def weight(self, node: Node) -> str:
        return self.large(node.weight, self.in_order(node, self.tensor(node).dense()))

    def tensor(self, node: Node) -> Tensor:
        return self.model.tensors[node.weight]

    def in_order(self, node: Node, weight: NDArray) -> NDArray:
        """Return ``weight`` with the channels as the picture has them."""
        if IMAGE in node.inputs and self.model.input.color == 'rgb':
            return weight[:, ::-1]
        return weight

    def conv(self, node: Node) -> None:
        bias = self.constant(node.bias, self.model.tensors[node.bias].dense())
        inputs = [*self.inputs(node), self.weight(node), bias]
        self.node('Conv', inputs, node.name, strides=[node.stride] * 2, pads=[node.pad] * 4)

    def max_pool(self, node: Node) -> None:
        self.node(
            'MaxPool',
            self.inputs(node),
            node.name,
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.pad] * 2 + self.end_pads(node),
        )

    def end_pads(self, node: Node) -> list[int]:
        """
        Return the pads below and to the right that give a pool the size that ``trace`` says.

        What a runtime makes of ONNX's ``ceil_mode`` differs where the last window begins behind
        the picture. A pad is minus infinity, so a larger one changes no value.
        """
        pairs = zip(self.shapes[node.inputs[0]][1:], self.shapes[node.name][1:], strict=True)
        reach = [(out - 1) * node.stride + node.kernel - size - node.pad for size, out in pairs]
        return [max(pad, node.pad) for pad in reach]

    def concat(self, node: Node) -> None:
        self.node('Concat', self.inputs(node), node.name, axis=1)


class _Int8Builder(_Builder):
    """Adds a quantisation and a dequantisation where a convolution is to run in int8."""

    def __init__(self, model: Model, signed: bool) -> None:
        super().__init__(model)
        self.int8 = int8_inputs(model)
        self.kept = kept_levels(model, signed=signed)

    def preprocess(self) -> None:
        super().preprocess()
        self.quantise(NORMALIZED)

    def add(self, node: Node) -> None:
        super().add(node)
        self.quantise(node.name)

    def read(self, name: str) -> str:
        return f'{name}/kept' if name in self.kept else name

    def quantise(self, name: str) -> None:
        """Let whoever reads the value ``name`` see only what int8 keeps of it."""
        if name not in self.kept:
            return
        levels = self.kept[name]
        step = np.array(levels.step, np.float32)
        zero = np.array(0, np.uint8 if levels.lowest == 0 else np.int8)
        numbers = [self.constant(f'{name}/step', step), self.constant(f'{name}/zero', zero)]
        self.node('QuantizeLinear', [name, *numbers], f'{name}/levels')
        self.node('DequantizeLinear', [f'{name}/levels', *numbers], self.read(name))

    def weight(self, node: Node) -> str:
        if node.name not in self.int8:
            return super().weight(node)
        tensor = self.tensor(node)
        assert tensor.step is not None  # else the node were not in self.int8
        inputs = [
            self.large(f'{node.weight}/levels', self.in_order(node, tensor.values)),
            self.constant(f'{node.weight}/step', tensor.step),
        ]
        self.node('DequantizeLinear', inputs, node.weight, axis=0)  # no matter for a single step
        return node.weight


def _plain(op: str) -> Callable[[_Builder, Node], None]:
    """Return the emitter of an operation whose ONNX namesake needs no attributes."""
    return lambda builder, node: builder.node(op, builder.inputs(node), node.name)


_EMITTERS: dict[str, Callable[[_Builder, Node], None]] = {
    'conv': _Builder.conv,
    'relu': _plain('Relu'),
    'max_pool': _Builder.max_pool,
    'global_average_pool': _plain('GlobalAveragePool'),
    'concat': _Builder.concat,
    'add': _plain('Sum'),
}
