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
A network seen from inside, on calibration pictures: what each convolution takes and matters.

A march goes through the layers once, with all pictures at once, so that a layer may be changed
before the next one sees what it gives.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sqz_perception.model.network import IMAGE, Model, Node, trace
from training.model_files.torch_network import TorchNetwork, Watch, batches

BATCH = 4  # pictures; larger ones make arrays that are mapped anew each time
SAMPLES = 24_000  # places of a layer's output, over all pictures, whose inputs are looked at
DRAWS = 2  # labels drawn from the original's answer to each picture

Visit = Callable[[Node, Tensor], None]


@dataclass(frozen=True)
class Importance:
    """
    How much the answer depends on each output channel of a convolution, each (out,), float64.

    Both are mean squared gradients of the log-likelihood, which is the divergence's curvature:
    ``weight`` for errors that differ from place to place, summed over the places; ``bias`` for
    one that is everywhere the same.
    """

    weight: Tensor
    bias: Tensor


@dataclass
class Pictures:
    """Calibration pictures, uint8 (N, H, W, 3) in BGR, and the places that are sampled."""

    model: Model
    values: NDArray[np.uint8]
    places: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        """Draw the places: for each convolution (N, n) indices into rows x columns."""
        shapes, generator = trace(self.model), torch.Generator().manual_seed(0)
        self.places = {
            node.name: self._draw(math.prod(shapes[node.name][1:]), generator)
            for node in self.model.convolutions
        }

    def march(self, net: TorchNetwork, visit: Visit) -> None:
        """Call ``visit`` with each convolution and the samples (N * n, K) of what it takes."""
        values = {
            IMAGE: torch.cat([net.preprocess(batch) for batch in batches(self.values, BATCH)])
        }
        with torch.no_grad():
            for index, node in enumerate(self.model.nodes):
                if node.op == 'conv':
                    visit(node, self._samples(node, values[node.inputs[0]]))
                values[node.name] = _in_batches(net, node, [values[name] for name in node.inputs])
                later = {name for after in self.model.nodes[index + 1 :] for name in after.inputs}
                values = {name: value for name, value in values.items() if name in later}

    def importance(self, net: TorchNetwork) -> dict[str, Importance]:
        """Return the importance of each convolution's channels in ``net``."""
        nodes = self.model.convolutions
        empty = {node.name: torch.zeros(len(net.biases[node.name])).double() for node in nodes}
        weight, bias = empty, {name: zero.clone() for name, zero in empty.items()}
        generator = torch.Generator().manual_seed(0)
        for batch in batches(self.values, BATCH):
            outputs: dict[str, Tensor] = {}

            def watch(name: str, value: Tensor, outputs: dict[str, Tensor] = outputs) -> None:
                if name in empty:
                    outputs[name] = value

            answers = net(batch, watch)
            drawn = torch.multinomial(
                answers.detach().softmax(1), DRAWS, True, generator=generator
            )
            for labels in drawn.T:
                loss = functional.cross_entropy(answers, labels, reduction='sum')
                found = torch.autograd.grad(loss, list(outputs.values()), retain_graph=True)
                for name, gradient in zip(outputs, found, strict=True):
                    weight[name] += (gradient.double() ** 2).sum((0, 2, 3))
                    bias[name] += (gradient.double().sum((2, 3)) ** 2).sum(0)
        count = DRAWS * len(self.values)
        return {name: Importance(weight[name] / count, bias[name] / count) for name in empty}

    def _draw(self, places: int, generator: torch.Generator) -> Tensor:
        count = min(places, max(1, SAMPLES // len(self.values)))
        rows = [torch.randperm(places, generator=generator)[:count] for _ in self.values]
        return torch.stack(rows)

    def _samples(self, node: Node, x: Tensor) -> Tensor:
        """Return what a kernel sees at the drawn places: x (N, C, H, W) -> (N * n, C * k * k)."""
        kernel = self.model.tensors[node.weight].values.shape[2:]
        x = functional.pad(x, (node.pad,) * 4)
        count, channels, _, columns = x.shape
        across = (columns - kernel[1]) // node.stride + 1
        places = self.places[node.name]
        first = (places // across * columns + places % across) * node.stride  # (N, n)
        inside = torch.arange(kernel[0])[:, None] * columns + torch.arange(kernel[1])
        index = (first[:, :, None] + inside.reshape(-1)).reshape(count, 1, -1)
        seen = x.reshape(count, channels, -1).gather(2, index.expand(-1, channels, -1))
        seen = seen.reshape(count, channels, places.shape[1], -1).permute(0, 2, 1, 3)
        return seen.reshape(count * places.shape[1], -1)


def logits(net: TorchNetwork, pictures: NDArray[np.uint8], watch: Watch | None = None) -> Tensor:
    """Return what ``net`` answers to ``pictures`` (N, H, W, 3): logits, (N, classes)."""
    with torch.no_grad():
        return torch.cat([net(batch, watch) for batch in batches(pictures, BATCH)])


def _in_batches(net: TorchNetwork, node: Node, inputs: list[Tensor]) -> Tensor:
    parts = zip(*(x.split(BATCH) for x in inputs), strict=True)
    return torch.cat([net.apply_node(node, list(part)) for part in parts])
