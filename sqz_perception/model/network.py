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
What a model is, apart from its bytes: input, layers, tensors, labels and a self-test.

Everything here is plain data. ``trace`` walks the layers once, finds every shape and refuses what
does not fit together, so that whoever holds a checked ``Model`` need not check again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.limits import (
    MAX_INPUTS,
    MAX_KERNEL,
    MAX_NODE_INPUTS,
    MAX_NODE_VALUES,
    MAX_PARAMETERS,
    MAX_SELF_TEST_WORK,
    MAX_VALUES,
    MAX_WORK,
)

IMAGE = 'image'  # the name by which nodes refer to the picture itself
WORK_CHANNELS = 32  # runtimes pad a convolution's outputs, or take as long for one as for these
WORK_POOL = 8  # multiplications that take as long as one comparison
SELF_TEST_BLOCK = 8  # pixels; flat squares excite a network more than single-pixel noise

Shape = tuple[int, int, int]  # channels, rows, columns


@dataclass(frozen=True)
class InputSpec:
    """
    What the network looks at: how a picture is cut and how its values are shifted and scaled.

    Pictures always arrive as uint8 (height, width, 3) in BGR. ``mean`` and ``scale`` are in the
    order of ``color``: x' = (x - mean) * scale, x from 0 to 255.
    """

    height: int  # pixels
    width: int  # pixels
    resize: int  # pixels of the picture's short side before the centre is cut out
    color: str = 'bgr'  # 'bgr' or 'rgb': the order that the weights expect
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Node:
    """
    One layer. Its name is also the name of what it gives.

    A 'conv' owns the tensors ``<name>.weight`` (out, in, rows, columns) and ``<name>.bias``
    (out,). ``pad`` is the same on all four sides; a max_pool pads with minus infinity.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    stride: int = 1
    pad: int = 0
    kernel: int = 0  # max_pool only; a convolution's kernel is its weight's shape
    ceil: bool = False  # max_pool only: round the output size up

    @property
    def weight(self) -> str:
        return f'{self.name}.weight'

    @property
    def bias(self) -> str:
        return f'{self.name}.bias'


@dataclass(frozen=True)
class Tensor:
    """
    Stored values: float32, float16, int8 levels with a step, or uint8 codes with a codebook.

    ``step`` is float32, of shape () for the whole tensor or (out,) for each output channel;
    a weight is its level times its step. Only int8 has one. ``codebook`` is float32 of shape
    (1 to 256,); a weight is the codebook's entry at its code. Only uint8 has one.
    """

    name: str
    values: NDArray
    step: NDArray[np.float32] | None = None
    codebook: NDArray[np.float32] | None = None

    def dense(self) -> NDArray[np.float32]:
        """Return the weights as float32, in the stored shape."""
        if self.codebook is not None:
            return self.codebook[self.values]
        dense = self.values.astype(np.float32)
        if self.step is not None:
            dense *= self.step.reshape(self.step.shape + (1,) * (dense.ndim - self.step.ndim))
        return dense


@dataclass(frozen=True)
class SelfTest:
    """
    Questions with known answers, to prove that a runtime computes what the author's did.

    For each seed: some class indices, and the logits expected there on ``self_test_picture`` of
    the seed; those of int8 arithmetic too, where the model has ranges for it.
    """

    seeds: tuple[int, ...] = ()
    classes: tuple[tuple[int, ...], ...] = ()
    logits: tuple[tuple[float, ...], ...] = ()
    int8: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Model:
    """
    A whole model: all that a robot needs to run it and to say what it is.

    ``ranges`` is for int8 arithmetic: the name of a node, or 'image' for the shifted and scaled
    picture -> the largest magnitude of its output that int8 keeps. A model without runs in
    floating point only.
    """

    name: str
    release: int  # only rises
    licence: str  # SPDX identifier or a short text
    description: str
    input: InputSpec
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    labels: tuple[str, ...]
    self_test: SelfTest = field(default_factory=SelfTest)
    ranges: Mapping[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases."""
        return sum(tensor.values.size for tensor in self.tensors.values())

    @property
    def convolutions(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.op == 'conv')


def self_test_picture(seed: int, spec: InputSpec) -> NDArray[np.uint8]:
    """
    Return the self-test's picture for ``seed``: uint8 (height, width, 3), BGR.

    Flat squares of 8 x 8 pixels whose colours are the bytes of SHAKE-128 (FIPS 202) of the seed
    as 8 bytes, little-endian: the same on every machine, and stored at no cost.
    """
    rows, columns = (math.ceil(side / SELF_TEST_BLOCK) for side in (spec.height, spec.width))
    digest = hashlib.shake_128(seed.to_bytes(8, 'little')).digest(rows * columns * 3)
    small = np.frombuffer(digest, np.uint8).reshape(rows, columns, 3)
    large = small.repeat(SELF_TEST_BLOCK, axis=0).repeat(SELF_TEST_BLOCK, axis=1)
    return np.ascontiguousarray(large[: spec.height, : spec.width])


def trace(model: Model) -> dict[str, Shape]:
    """
    Return each node's output shape (channels, rows, columns), by name.

    Raise ModelInvalid where a node's inputs, tensors or shapes do not fit, where a tensor or a
    range belongs to no node, where the last node does not give one value for each label, or where
    the graph exceeds a limit.
    """
    inputs = sum(len(node.inputs) for node in model.nodes)
    if inputs > MAX_INPUTS:
        raise ModelInvalid(f'the nodes have {inputs:,} inputs; at most {MAX_INPUTS:,} together')
    shapes: dict[str, Shape] = {IMAGE: (3, model.input.height, model.input.width)}
    for node in model.nodes:
        if node.name in shapes:
            raise ModelInvalid(f'the name {node.name!r} stands for two nodes')
        unknown = [name for name in node.inputs if name not in shapes]
        if unknown:
            raise ModelInvalid(
                f'node {node.name!r} takes {unknown[0]!r}, which no node before gives'
            )
        shapes[node.name] = _output_shape(node, [shapes[name] for name in node.inputs], model)
    owned = {name for node in model.convolutions for name in (node.weight, node.bias)}
    stray = sorted(set(model.tensors) - owned)
    if stray:
        raise ModelInvalid(f'the tensor {stray[0]!r} belongs to no node')
    foreign = sorted(set(model.ranges) - set(shapes))
    if foreign:
        raise ModelInvalid(f'the range {foreign[0]!r} belongs to no node')
    if not model.nodes:
        raise ModelInvalid('the graph has no nodes')
    last = shapes[model.nodes[-1].name]
    if last != (len(model.labels), 1, 1):
        raise ModelInvalid(
            f'the last node gives {last}, not one value for {len(model.labels)} labels'
        )
    _check_cost(model, shapes)
    return shapes


def multiply_adds(model: Model) -> int:
    """Return the multiply-accumulates of one picture (convolutions only, as papers count)."""
    shapes = trace(model)
    total = 0
    for node in model.convolutions:
        _, rows, columns = shapes[node.name]
        total += model.tensors[node.weight].values.size * rows * columns
    return total


def _check_cost(model: Model, shapes: Mapping[str, Shape]) -> None:
    if model.parameters > MAX_PARAMETERS:
        raise ModelInvalid(f'{model.parameters:,} parameters; at most {MAX_PARAMETERS:,}')
    values = sum(math.prod(shape) for shape in shapes.values())
    if values > MAX_VALUES:
        raise ModelInvalid(f'the nodes give {values:,} values; at most {MAX_VALUES:,} together')
    work = sum(_work(node, shapes, model) for node in model.nodes)
    if work > MAX_WORK:
        raise ModelInvalid(f'a picture takes {work:,} multiplications; at most {MAX_WORK:,}')
    questions = len(model.self_test.seeds)
    if questions * work > MAX_SELF_TEST_WORK:
        raise ModelInvalid(
            f'the self-test has {questions} questions of {work:,} multiplications; at most '
            f'{MAX_SELF_TEST_WORK:,} together'
        )


def _work(node: Node, shapes: Mapping[str, Shape], model: Model) -> int:
    """Return what a node costs, in multiplications: an upper bound for every runtime."""
    channels, rows, columns = shapes[node.name]
    if node.op == 'conv':
        window = math.prod(model.tensors[node.weight].values.shape[1:])
        return -(-channels // WORK_CHANNELS) * WORK_CHANNELS * window * rows * columns
    if node.op == 'max_pool':
        return WORK_POOL * node.kernel**2 * channels * rows * columns
    return sum(math.prod(shapes[name]) for name in node.inputs)


def _output_shape(node: Node, inputs: list[Shape], model: Model) -> Shape:
    rule = _RULES.get(node.op)
    if rule is None:
        raise ModelInvalid(f'node {node.name!r} has the unknown operation {node.op!r}')
    if IMAGE in node.inputs and node.op != 'conv':  # the colour order is folded into convolutions
        raise ModelInvalid(f'node {node.name!r} ({node.op}) takes the picture; only a conv may')
    many = node.op in ('concat', 'add')
    if len(inputs) < 1 or (len(inputs) > 1) != many or len(inputs) > MAX_NODE_INPUTS:
        raise ModelInvalid(f'node {node.name!r} ({node.op}) takes {len(inputs)} inputs')
    shape = rule(node, inputs, model)
    if min(shape) < 1 or math.prod(shape) > MAX_NODE_VALUES:
        raise ModelInvalid(f'node {node.name!r} gives an impossible output {shape}')
    return shape


def _conv(node: Node, inputs: list[Shape], model: Model) -> Shape:
    weight, bias = model.tensors.get(node.weight), model.tensors.get(node.bias)
    if weight is None or bias is None:
        raise ModelInvalid(f'node {node.name!r} lacks its weight or its bias')
    channels, rows, columns = inputs[0]
    if weight.values.ndim != 4 or weight.values.shape[1] != channels:
        raise ModelInvalid(
            f'{node.weight!r} of shape {weight.values.shape} meets {channels} channels'
        )
    out, _, kernel_rows, kernel_columns = weight.values.shape
    if max(kernel_rows, kernel_columns) > MAX_KERNEL:
        raise ModelInvalid(
            f'{node.weight!r} has a kernel of {kernel_rows}x{kernel_columns}; at most {MAX_KERNEL}'
        )
    if bias.values.shape != (out,):
        raise ModelInvalid(f'{node.bias!r} of shape {bias.values.shape} meets {out} channels')
    return (
        out,
        (rows + 2 * node.pad - kernel_rows) // node.stride + 1,
        (columns + 2 * node.pad - kernel_columns) // node.stride + 1,
    )


def _max_pool(node: Node, inputs: list[Shape], model: Model) -> Shape:
    if node.kernel > MAX_KERNEL:
        raise ModelInvalid(f'node {node.name!r}: a pool of {node.kernel}; at most {MAX_KERNEL}')
    if not (node.stride <= node.kernel and 2 * node.pad <= node.kernel):
        raise ModelInvalid(f'node {node.name!r}: a pool of {node.kernel} skips or pads too far')
    channels, rows, columns = inputs[0]
    return channels, _pooled(rows, node), _pooled(columns, node)


def _pooled(size: int, node: Node) -> int:
    """Output size of a pool; rounding up drops a last window that would lie in the padding."""
    reach = size + 2 * node.pad - node.kernel
    if reach < 0:
        return 0  # even a single window is larger than the padded picture
    if not node.ceil:
        return reach // node.stride + 1
    out = -(-reach // node.stride) + 1
    return out - 1 if (out - 1) * node.stride >= size + node.pad else out


def _concat(node: Node, inputs: list[Shape], model: Model) -> Shape:
    if len({shape[1:] for shape in inputs}) != 1:
        raise ModelInvalid(f'node {node.name!r} joins pictures of different sizes: {inputs}')
    return sum(shape[0] for shape in inputs), inputs[0][1], inputs[0][2]


def _add(node: Node, inputs: list[Shape], model: Model) -> Shape:
    if len(set(inputs)) != 1:
        raise ModelInvalid(f'node {node.name!r} adds different shapes: {inputs}')
    return inputs[0]


_RULES = {
    'conv': _conv,
    'relu': lambda node, inputs, model: inputs[0],
    'max_pool': _max_pool,
    'global_average_pool': lambda node, inputs, model: (inputs[0][0], 1, 1),
    'concat': _concat,
    'add': _add,
}
