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
Prune a network while it is trained.

A callback for the recipe of training.train::

    trainer:
      callbacks:
        - class_path: training.fitting.callbacks.PruneCallback
          init_args: {density: 0.33}

It acts on the convolutions' own weights, before any norm is folded into them; biases and norms
stay as they are. Outside of an optimizer's step the network holds the pruned weights, which is
what is validated and what checkpoints hold. ``best.ckpt`` starts anew when the callback begins,
and again when pruning has reached its density. Weights that are zero at the start stay zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from training.errors import CompressionFailed
from training.networks.pruning import prune

UPDATES = 100  # of the masks, at most, while the density falls


class Constraint(Callback):
    """Sets weights to zero again after each step of the optimizer."""

    def __init__(self) -> None:
        self.since: int | None = None  # the step at which this began
        self.weights: dict[str, Tensor] = {}  # by the layer's name
        self.kept: dict[str, Tensor] = {}  # bool, of the weight's shape: False where it stays zero

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run has to know beside the weights."""
        return {'since': self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint's run ended."""
        self.since = state_dict['since']

    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """
        Find the weights; compress them for the first time.

        Raises CompressionFailed where the schedule has ended before it begins.
        """
        self.weights = weights_of(pl_module)
        first = self.since is None
        self.since = trainer.global_step if self.since is None else self.since
        if first and self.since >= trainer.estimated_stepping_batches:
            raise CompressionFailed(
                f'the checkpoint is of step {self.since}, and with these batches the rate is zero '
                f'from step {trainer.estimated_stepping_batches} on; raise --trainer.max_epochs'
            )
        self.kept = self.masks()
        self.constrain(trainer)
        if first:
            forget_best(trainer)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Compress what the optimizer has changed."""
        for name, kept in self.kept.items():
            self.weights[name].mul_(kept)
        self.constrain(trainer)

    def masks(self) -> dict[str, Tensor]:
        """Return which weights may change, new or resumed: those that are zero stay so."""
        return {name: weight != 0 for name, weight in self.weights.items()}

    def constrain(self, trainer: Trainer) -> None:
        """Compress ``weights``, in place, where it takes more than what is ``kept``."""


class PruneCallback(Constraint):
    """
    Prunes by magnitude, slowly and then no more, and holds at zero what is pruned.

    The density falls with the cube of the time that is left (Zhu and Gupta, arXiv 1710.01878).
    """

    def __init__(
        self, density: float, until: float = 0.5, layers: dict[str, float] | None = None
    ) -> None:
        """
        Prune each convolution.

        :param density: Share of each layer's weights that remain, above 0 and at most 1.
        :param until: Share of the steps to come after which that density is reached, 0 to 1.
        :param layers: Other densities for layers by name, such as conv1 or fires.fire2.squeeze1x1.
        """
        super().__init__()
        self.density, self.until, self.layers = density, until, layers or {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise CompressionFailed for shares that are none and for densities of no layer."""
        check_densities(self.density, self.layers, weights_of(pl_module))
        if not 0 <= self.until <= 1:
            raise CompressionFailed(f'until is {self.until}, but a share lies between 0 and 1')

    def constrain(self, trainer: Trainer) -> None:
        """Lower the density while it is time for that."""
        assert self.since is not None
        steps = round(self.until * (int(trainer.estimated_stepping_batches) - self.since))
        step = trainer.global_step - self.since
        if step > steps or (step < steps and step % max(1, steps // UPDATES)):
            return
        left = (1 - step / steps) ** 3 if steps else 0.0
        for name, weight in self.weights.items():
            final = self.layers.get(name, self.density)
            self.kept[name] &= largest(weight, final + (1 - final) * left)
            weight.mul_(self.kept[name])
        if step == steps:
            forget_best(trainer)


def weights_of(module: LightningModule) -> dict[str, Tensor]:
    """Return the weights (out, in, rows, columns) that are trained, by the convolution's name."""
    return {
        name.removeprefix('net.'): layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.weight.requires_grad
    }


def largest(weight: Tensor, density: float) -> Tensor:
    """Return which of ``weight`` are its largest, bool of its shape: ``density`` of them."""
    return torch.from_numpy(prune(weight.detach().cpu().numpy(), density)).to(weight.device)


def check_densities(density: float, layers: Mapping[str, float], names: Iterable[str]) -> None:
    """Raise CompressionFailed for densities that are none, or of a layer not among ``names``."""
    for value in (density, *layers.values()):
        if not 0 < value <= 1:
            raise CompressionFailed(f'a density of {value} is not above 0 and at most 1')
    unknown = sorted(set(layers) - set(names))
    if unknown:
        raise CompressionFailed(
            f'there is no layer {unknown[0]!r} to prune; there are {", ".join(names)}'
        )


def forget_best(trainer: Trainer) -> None:
    """Let the next checkpoint be the best so far: the ones before were of another kind."""
    for checkpoint in trainer.checkpoint_callbacks:
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.monitor:
            checkpoint.best_k_models.clear()
