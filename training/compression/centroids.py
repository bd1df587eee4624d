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
Tune the values that weights share, without labels: the answers are to stay the original's.

Source: Han et al., Deep Compression, arXiv 1510.00149, section 3.3; the loss is ours.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from sqz_perception.model.network import Model, Tensor
from training.compression.activations import logits
from training.evaluation.outcome import divergence
from training.model_files.torch_network import TorchNetwork

HELD_OUT = 4  # one picture in so many tells when to stop tuning
BATCH = 16  # pictures
RATE = 0.005  # of a layer's root mean square weight, about what a step of Adam moves a value


def tune(model: Model, shared: Model, pictures: NDArray[np.uint8], epochs: int) -> Model:
    """
    Return ``shared`` with values that answer to ``pictures`` more as ``model`` does.

    Which weights share a value stays, and so does zero; biases are tuned as well. A quarter of
    the pictures, uint8 (N, height, width, 3) in BGR, is held out: the values are those of the
    epoch that was best on it, or the ones of before.
    """
    tuner = _Tuner(model, shared, pictures)
    best, found = tuner.loss(), shared
    batches = -(-len(tuner.taught) // BATCH)
    with tqdm(total=epochs * batches, desc='tuning', unit=' batches', disable=None) as progress:
        for epoch in range(epochs):
            tuner.epoch(epoch, 1 - epoch / epochs, progress)
            loss = tuner.loss()
            progress.set_postfix_str(f'divergence {loss:.4f}')
            if loss < best:
                best, found = loss, tuner.model()
    return found


class _Tuner:
    """Trains codebooks and biases by Adam; the network's weights follow their codebooks."""

    def __init__(self, model: Model, shared: Model, pictures: NDArray[np.uint8]) -> None:
        self.shared, self.net = shared, TorchNetwork(shared)
        held = np.arange(len(pictures)) % HELD_OUT == 0
        self.taught = torch.from_numpy(pictures[~held])
        self.held = pictures[held]
        answers = logits(TorchNetwork(model), pictures)
        self.wanted, self.wanted_held = answers[torch.from_numpy(~held)], answers[held]
        self.codebooks, self.codes, groups = {}, {}, []
        for node in shared.convolutions:
            tensor, weight = shared.tensors[node.weight], self.net.weights[node.name]
            assert tensor.codebook is not None
            codebook = torch.from_numpy(tensor.codebook.copy())
            self.codebooks[node.name] = codebook
            self.codes[node.name] = torch.from_numpy(tensor.values.astype(np.int64))
            scale = RATE * float(weight.detach().square().mean().sqrt())
            groups.append({'params': [codebook], 'lr': scale, 'scale': scale})
            groups.append({'params': [self.net.biases[node.name]], 'lr': scale, 'scale': scale})
        self.optimizer = torch.optim.Adam(groups)

    def loss(self) -> float:
        """Return the divergence on the pictures held out."""
        return divergence(self.wanted_held.numpy(), logits(self.net, self.held).numpy())

    def epoch(self, seed: int, rate: float, progress: tqdm) -> None:
        """Go through the pictures once, at ``rate`` of the full speed."""
        for group in self.optimizer.param_groups:
            group['lr'] = rate * group['scale']
        order = torch.randperm(len(self.taught), generator=torch.Generator().manual_seed(seed))
        for batch in order.split(BATCH):
            self._step(self.taught[batch], self.wanted[batch])
            progress.update()

    def model(self) -> Model:
        """Return the model with what was learnt so far."""
        tensors = dict(self.shared.tensors)
        for node in self.shared.convolutions:
            codebook = self.codebooks[node.name].numpy().copy()
            tensors[node.weight] = replace(tensors[node.weight], codebook=codebook)
            bias = self.net.biases[node.name].detach().numpy().copy()
            tensors[node.bias] = Tensor(node.bias, bias)
        return replace(self.shared, tensors=tensors)

    def _step(self, pictures: torch.Tensor, wanted: torch.Tensor) -> None:
        self.net.zero_grad()
        answers = self.net(pictures).log_softmax(1)
        functional.kl_div(
            answers, wanted.log_softmax(1), reduction='batchmean', log_target=True
        ).backward()
        for name, codebook in self.codebooks.items():
            codebook.grad = _shared_gradient(self.codes[name], self.net.weights[name], codebook)
        self.optimizer.step()
        with torch.no_grad():
            for name, codebook in self.codebooks.items():
                self.net.weights[name].copy_(codebook[self.codes[name]])


def _shared_gradient(
    codes: torch.Tensor, weight: torch.Tensor, codebook: torch.Tensor
) -> torch.Tensor:
    """Return the gradient of each value: the sum over its weights (eq. 3); none for zero."""
    assert weight.grad is not None
    summed = torch.zeros_like(codebook)
    summed.index_add_(0, codes.flatten(), weight.grad.flatten())
    return summed * (codebook != 0)
