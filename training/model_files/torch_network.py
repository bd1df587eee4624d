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
A model file's network in PyTorch, layer for layer, for what must look at it from inside.

Calibration asks for its activations, compression for its gradients. Training builds its networks
from ``training.models`` instead: a file has no batch norm left to train.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sqz_perception.model.network import IMAGE, Model, Node

Watch = Callable[[str, Tensor], 'Tensor | None']


class TorchNetwork(nn.Module):
    """
    Pictures, uint8 (N, H, W, 3) in BGR -> logits (N, classes).

    ``weights`` and ``biases`` hold a Parameter for each convolution, by its name.
    """

    def __init__(self, model: Model) -> None:
        """Take over the weights of ``model``, dense and in fp32."""
        super().__init__()
        self.nodes = model.nodes
        self.color = model.input.color
        spec = model.input
        self.register_buffer('mean', torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer('scale', torch.tensor(spec.scale).view(1, 3, 1, 1))
        self.weights, self.biases = _Parameters(), _Parameters()
        for node in model.convolutions:
            self.weights[node.name] = torch.from_numpy(model.tensors[node.weight].dense())
            self.biases[node.name] = torch.from_numpy(model.tensors[node.bias].dense())

    def forward(self, pictures: Tensor, watch: Watch | None = None) -> Tensor:
        """
        Return the logits (N, classes).

        ``watch`` is called with each node's name and output, and with 'image' and what the first
        convolution sees; what it returns, if anything, takes the output's place.
        """
        watch = watch or (lambda name, value: None)
        values: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor) -> None:
            instead = watch(name, value)
            values[name] = value if instead is None else instead

        keep(IMAGE, self.preprocess(pictures))
        for node in self.nodes:
            keep(node.name, self.apply_node(node, [values[name] for name in node.inputs]))
        return values[self.nodes[-1].name].flatten(1)

    def replace(self, name: str, weight: NDArray, bias: NDArray) -> None:
        """Give a convolution another weight (out, in, rows, columns) and bias (out,)."""
        with torch.no_grad():
            self.weights[name].copy_(torch.from_numpy(weight))
            self.biases[name].copy_(torch.from_numpy(bias))

    def preprocess(self, pictures: Tensor) -> Tensor:
        """Return what the first convolution sees, float32 (N, 3, H, W)."""
        x = pictures.permute(0, 3, 1, 2).float()
        x = x if self.color == 'bgr' else x.flip(1)
        return (x - self.mean) * self.scale

    def apply_node(self, node: Node, inputs: list[Tensor]) -> Tensor:
        """Return what ``node`` makes of its inputs, each (N, C, H, W)."""
        x = inputs[0]
        if node.op == 'conv':
            weight, bias = self.weights[node.name], self.biases[node.name]
            return functional.conv2d(x, weight, bias, node.stride, node.pad)
        if node.op == 'max_pool':
            return functional.max_pool2d(
                x, node.kernel, node.stride, node.pad, ceil_mode=node.ceil
            )
        return _PLAIN[node.op](inputs)


class _Parameters(nn.Module):
    """Name -> Parameter, for names with dots in them, which a ParameterDict refuses."""

    def __getitem__(self, name: str) -> Tensor:
        return self._parameters[name.replace('.', '/')]

    def __setitem__(self, name: str, value: Tensor) -> None:
        self._parameters[name.replace('.', '/')] = nn.Parameter(value)


_PLAIN: dict[str, Callable[[list[Tensor]], Tensor]] = {
    'relu': lambda inputs: inputs[0].relu(),
    'global_average_pool': lambda inputs: inputs[0].mean(dim=(2, 3), keepdim=True),
    'concat': lambda inputs: torch.cat(inputs, dim=1),
    'add': lambda inputs: torch.stack(inputs).sum(dim=0),
}


def batches(pictures: NDArray[np.uint8], size: int) -> list[Tensor]:
    """Return (N, H, W, 3) as tensors of at most ``size`` pictures."""
    return list(torch.from_numpy(pictures).split(size))
