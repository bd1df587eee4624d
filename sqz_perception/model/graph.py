# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A model -> an ONNX model with its weights, the one form that every runtime here reads.

The graph takes the picture as the camera gives it, uint8 (1, height, width, 3) in BGR, and gives
the logits (1, classes). Shift and scale are nodes of the graph; the colour order costs nothing,
it is folded into the first convolution's weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sqz_perception.model.network import IMAGE, Model, Node

OPSET = 17  # read by TensorRT 10.3 (JetPack 6) and everything later
IR_VERSION = 8
INPUT = '/picture'  # a slash is in no node's name, so these can't meet one
OUTPUT = '/logits'
NORMALIZED = IMAGE  # nodes of the model refer to the shifted and scaled picture by this name


def to_onnx(model: Model) -> onnx.ModelProto:
    """Return ``model`` as an ONNX model in fp32. The model is taken to be checked (``trace``)."""
    builder = _Builder(model)
    builder.preprocess()
    for node in model.nodes:
        builder.add(node)
    return builder.finish()


class _Builder:
    """Collects ONNX nodes and initializers for one model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

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

    def finish(self) -> onnx.ModelProto:
        spec, classes = self.model.input, len(self.model.labels)
        self.node('Flatten', [self.model.nodes[-1].name], OUTPUT, axis=1)
        picture = helper.make_tensor_value_info(
            INPUT, TensorProto.UINT8, [1, spec.height, spec.width, 3]
        )
        logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(
            self.nodes, self.model.name, [picture], [logits], self.initializers
        )
        opset = [helper.make_opsetid('', OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)

    def node(self, op: str, inputs: list[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def constant(self, name: str, values: NDArray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, node: Node) -> None:
        weight = self.model.tensors[node.weight].dense()
        if IMAGE in node.inputs and self.model.input.color == 'rgb':
            weight = weight[:, ::-1]
        inputs = [
            *node.inputs,
            self.constant(node.weight, weight),
            self.constant(node.bias, self.model.tensors[node.bias].dense()),
        ]
        self.node('Conv', inputs, node.name, strides=[node.stride] * 2, pads=[node.pad] * 4)

    def max_pool(self, node: Node) -> None:
        self.node(
            'MaxPool',
            list(node.inputs),
            node.name,
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.pad] * 4,
            ceil_mode=int(node.ceil),
        )

    def concat(self, node: Node) -> None:
        self.node('Concat', list(node.inputs), node.name, axis=1)


def _plain(op: str) -> Callable[[_Builder, Node], None]:
    """Return the emitter of an operation whose ONNX namesake needs no attributes."""
    return lambda builder, node: builder.node(op, list(node.inputs), node.name)


_EMITTERS: dict[str, Callable[[_Builder, Node], None]] = {
    'conv': _Builder.conv,
    'relu': _plain('Relu'),
    'max_pool': _Builder.max_pool,
    'global_average_pool': _plain('GlobalAveragePool'),
    'concat': _Builder.concat,
    'add': _plain('Sum'),
}
