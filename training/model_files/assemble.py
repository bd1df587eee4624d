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
Weights as NumPy arrays -> a model file's nodes and tensors, in SqueezeNet's words.

Whatever the weights came from, a checkpoint, torchvision or Caffe, they go into a file here, so
one kind of layer has one spelling. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.network import IMAGE, InputSpec, Model, Node, Tensor, trace
from training.model_files.reference import self_test

CODEBOOK = 'codebook'
DTYPES = ('float16', 'float32', CODEBOOK)
MAX_CODEBOOK = 256  # different weights of one layer


@dataclass(frozen=True)
class Layer:
    """A convolution's weight (out, in, rows, columns) and bias (out,), both float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """What a model file says about itself."""

    name: str
    release: int = 1
    licence: str = 'Apache-2.0'
    description: str = ''


class Assembler:
    """Takes layers in the order of the network; ``finish`` gives the model."""

    def __init__(self, dtype: str = 'float16', base: Mapping[str, Tensor] | None = None) -> None:
        """
        Weights are stored as ``dtype``, one of DTYPES; biases always as float32.

        CODEBOOK keeps weights that share a few values, as float32, without any loss. What has the
        same values in ``base``, the tensors of another model, is stored as it is there.
        """
        self.dtype = dtype
        self.base = base or {}
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.last = IMAGE

    def conv(self, name: str, layer: Layer, stride: int = 1, pad: int = 0) -> None:
        """Convolve what was given last."""
        self.nodes.append(Node('conv', name, (self.last,), stride=stride, pad=pad))
        weight = self._as_in_base(f'{name}.weight', layer.weight)
        if weight is None:
            shared = self.dtype == CODEBOOK
            weight = _shared(name, layer) if shared else _converted(name, layer, self.dtype)
        bias = self._as_in_base(f'{name}.bias', layer.bias)
        if bias is None:
            bias = Tensor(f'{name}.bias', layer.bias.astype(np.float32))
        self.tensors |= {tensor.name: tensor for tensor in (weight, bias)}
        self.last = name

    def relu(self) -> None:
        """Rectify what was given last."""
        self._then('relu', f'{self.last}.relu', self.last)

    def max_pool(self, name: str) -> None:
        """Halve what was given last, as everywhere in the family: 3x3, stride 2, rounding up."""
        self.nodes.append(Node('max_pool', name, (self.last,), stride=2, kernel=3, ceil=True))
        self.last = name

    def fire(
        self,
        name: str,
        squeeze: Layer,
        expand1x1: Layer,
        expand3x3: Layer,
        bypass: bool = False,
        add_first: bool = False,
        project: Layer | None = None,
    ) -> None:
        """
        Squeeze, expand twice, concatenate; with ``bypass`` add what went in.

        ``add_first`` puts the addition before the last ReLU instead of after it; ``project``
        convolves what went in before it is added.
        """
        source = self.last
        self.conv(f'{name}.squeeze1x1', squeeze)
        self.relu()
        squeezed = self.last
        self.conv(f'{name}.expand1x1', expand1x1)
        self.last = squeezed
        self.conv(f'{name}.expand3x3', expand3x3, pad=1)
        self._then('concat', f'{name}.expand', f'{name}.expand1x1', f'{name}.expand3x3')
        if not add_first:
            self.relu()
        if bypass:
            expanded = self.last
            self.last = source
            if project is not None:
                self.conv(f'{name}.project', project)
            self._then('add', f'{name}.bypass', self.last, expanded)
        if add_first:
            self.relu()

    def average(self, name: str = 'pool10') -> None:
        """Average over the picture: the logits."""
        self._then('global_average_pool', name, self.last)

    def finish(self, identity: Identity, spec: InputSpec, labels: tuple[str, ...]) -> Model:
        """Return the checked model with its self-test. Raises ModelInvalid."""
        model = Model(
            name=identity.name,
            release=identity.release,
            licence=identity.licence,
            description=identity.description,
            input=spec,
            nodes=tuple(self.nodes),
            tensors=self.tensors,
            labels=labels,
        )
        trace(model)
        return replace(model, self_test=self_test(model))

    def _as_in_base(self, name: str, values: NDArray[np.float32]) -> Tensor | None:
        tensor = self.base.get(name)
        return tensor if tensor and np.array_equal(tensor.dense(), values) else None

    def _then(self, op: str, name: str, *inputs: str) -> None:
        self.nodes.append(Node(op, name, inputs))
        self.last = name


def _converted(name: str, layer: Layer, dtype: str) -> Tensor:
    with np.errstate(over='ignore'):  # refused below
        weight = np.ascontiguousarray(layer.weight).astype(dtype)
    if not np.isfinite(weight).all():
        raise ModelInvalid(
            f"{name} has weights that {dtype} can't hold; use --dtype "
            'float32, or train again where they are not finite'
        )
    return Tensor(f'{name}.weight', weight)


def _shared(name: str, layer: Layer) -> Tensor:
    """Return the weights as codes, their codebook sorted and without unused entries."""
    codebook, codes = np.unique(layer.weight, return_inverse=True)
    if len(codebook) > MAX_CODEBOOK or not np.isfinite(codebook).all():
        raise ModelInvalid(
            f'{name} has {len(codebook):,} different weights; a codebook has at most '
            f'{MAX_CODEBOOK}, all finite: use --dtype float16 or float32'
        )
    codes = codes.reshape(layer.weight.shape).astype(np.uint8)
    return Tensor(f'{name}.weight', codes, codebook=codebook.astype(np.float32))
