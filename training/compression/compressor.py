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
A whole model -> the same model with int8 levels, layer by layer.

The layers are compressed in order, each on what the compressed ones before it give, so that each
makes up for the errors of those.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sqz_perception.model.network import Model, Node, Tensor
from training.compression.activations import Importance, Pictures, logits
from training.compression.quantize import (
    Moments,
    Quantised,
    moments,
    predicted_loss,
    quantise,
    quantise_bias,
)
from training.compression.ranges import calibrate, refined
from training.evaluation.outcome import divergence
from training.model_files.reference import self_test
from training.model_files.torch_network import TorchNetwork

SENSING = 6e-8  # the trade at which layers are compressed alone
SENSED = 125  # pictures for that, at most
MOST_CORRECTED = 100.0  # times
SMOOTHING = 0.5  # of a channel's importance is that of the layer: gradients of few pictures vary


class Compressor:
    """
    What a model's compression has in common whatever the trade.

    The gradients' importance tells channels apart, but not layers: errors that agree from place
    to place add up to more, the deeper the more. So each layer is also compressed alone, and its
    importance corrected by what that did to the answers.
    """

    def __init__(self, model: Model, pictures: NDArray[np.uint8]) -> None:
        """Look at ``model`` on ``pictures``, uint8 (N, height, width, 3) in BGR."""
        self.model, self.pictures = model, Pictures(model, pictures)
        self.net = TorchNetwork(model)
        self.importance = {
            name: self._smoothed(name, found)
            for name, found in self.pictures.importance(self.net).items()
        }
        self.net.requires_grad_(False)
        every = -(-len(pictures) // SENSED)
        self._few = pictures[::every]
        self.ranges = refined(model, calibrate(model, pictures), self._few)
        self._taken: dict[str, torch.Tensor] = {}
        self.pictures.march(
            self.net, lambda node, samples: self._taken.update({node.name: samples})
        )
        self._correct_importance()

    def compress(self, trade: float) -> Model:
        """Return the model with int8 levels, ranges and a self-test: whole, as a file holds it."""
        net = TorchNetwork(self.model).requires_grad_(False)
        tensors = dict(self.model.tensors)
        progress = self._progress(f'trade {trade:.2e}')

        def visit(node: Node, samples: torch.Tensor) -> None:
            weight, bias = self._layer(node, moments(self._taken[node.name], samples), trade)
            tensors.update({node.weight: weight, node.bias: bias})
            net.replace(node.name, weight.dense(), bias.dense())
            progress.update()

        with progress:
            self.pictures.march(net, visit)
        compressed = replace(self.model, tensors=tensors, ranges=self.ranges)
        return replace(compressed, self_test=self_test(compressed))

    def _layer(self, node: Node, seen: Moments, trade: float) -> tuple[Tensor, Tensor]:
        """Return the compressed weight and bias of ``node``."""
        found = self._quantised(node, seen, trade)
        bias, step = quantise_bias(found.bias, self.importance[node.name].bias, trade)
        shape = self.model.tensors[node.weight].values.shape
        levels = found.levels.reshape(shape).to(torch.int8).numpy()
        return (
            Tensor(node.weight, levels, found.step.numpy().astype(np.float32)),
            Tensor(node.bias, bias.to(torch.int8).numpy(), np.array(step, np.float32)),
        )

    def _quantised(self, node: Node, seen: Moments, trade: float) -> Quantised:
        weight, bias = self.net.weights[node.name].double(), self.net.biases[node.name].double()
        return quantise(weight.flatten(1), bias, seen, self.importance[node.name].weight, trade)

    def _smoothed(self, name: str, found: Importance) -> Importance:
        """Draw the channels together; those of the last layer are classes, all equal to us."""
        share = 1.0 if name == self.model.convolutions[-1].name else SMOOTHING
        return replace(found, weight=torch.lerp(found.weight, found.weight.mean(), share))

    def _correct_importance(self) -> None:
        """Compress each layer alone; scale its importance to the divergence that comes of it."""
        original = logits(self.net, self._few)
        with self._progress('sensitivity') as progress:
            for node in self.model.convolutions:
                self._correct_layer(node, original)
                progress.update()

    def _correct_layer(self, node: Node, original: torch.Tensor) -> None:
        taken = self._taken[node.name]
        seen = moments(taken, taken)
        found = self._quantised(node, seen, SENSING)
        weight, bias = (held[node.name].clone() for held in (self.net.weights, self.net.biases))
        importance = self.importance[node.name]
        expected = predicted_loss(weight.double().flatten(1), found, seen, importance.weight)
        self.net.replace(node.name, found.weight.reshape(weight.shape).numpy(), found.bias.numpy())
        measured = divergence(original.numpy(), logits(self.net, self._few).numpy())
        self.net.replace(node.name, weight.numpy(), bias.numpy())
        if expected > 0 and measured > 0:
            factor = float(np.clip(measured / expected, 1 / MOST_CORRECTED, MOST_CORRECTED))
            self.importance[node.name] = replace(importance, weight=factor * importance.weight)

    def _progress(self, what: str) -> tqdm:
        return tqdm(total=len(self.model.convolutions), desc=what, unit=' layers', disable=None)
