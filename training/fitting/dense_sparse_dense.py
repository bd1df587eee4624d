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
Dense-sparse-dense training: a network loses most of its weights for a while, then has them back.

A callback for the recipe of training.train, alone or after a finished run (--ckpt_path)::

    trainer:
      callbacks:
        - class_path: training.fitting.dense_sparse_dense.DenseSparseDenseCallback
          init_args: {sparse_from: 0.0, dense_from: 0.5}

Trained without its small weights the network finds another minimum; trained on with all of them,
which begin again at zero, it leaves that for a better one. What comes out is dense: this is for
accuracy, not for size. SqueezeNet's early versions report 4.3 points of top-1 from it.

Source: Han et al., DSD: Dense-Sparse-Dense Training for Deep Neural Networks, arXiv 1607.04381.
"""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor

from training.errors import CompressionFailed
from training.fitting.callbacks import (
    Constraint,
    check_densities,
    forget_best,
    largest,
    weights_of,
)

FIRST, SPARSE, LAST = 'dense', 'sparse', 'dense again'


class DenseSparseDenseCallback(Constraint):
    """
    Trains dense, then sparse, then dense at a lower rate; ``best.ckpt`` is of the last phase.

    The optimizer moves pruned weights too and they are set to zero after each of its steps; what
    momentum it has gathered for them is forgotten before they come back. The lower rate is in the
    schedule that a checkpoint holds, so it stays with runs that go on from it.
    """

    def __init__(
        self,
        density: float = 1 / 3,
        sparse_from: float = 1 / 3,
        dense_from: float = 2 / 3,
        rate: float = 0.1,
        layers: dict[str, float] | None = None,
    ) -> None:
        """
        Take weights of each convolution away and give them back.

        :param density: Share of each layer's weights that remain, above 0 and at most 1.
        :param sparse_from: Share of the steps to come after which the others are pruned; 0: at
            once.
        :param dense_from: Share of the steps to come after which they are back, below 1.
        :param rate: What the learning rate is multiplied by from then on.
        :param layers: Other densities for layers by name, such as conv1 or fires.fire2.squeeze1x1.
        """
        super().__init__()
        self.density, self.layers = density, layers or {}
        self.sparse_from, self.dense_from, self.rate = sparse_from, dense_from, rate
        self.phase = FIRST

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raise CompressionFailed for densities, shares and rates that are none."""
        check_densities(self.density, self.layers, weights_of(pl_module))
        if not 0 <= self.sparse_from < self.dense_from < 1:
            raise CompressionFailed(
                f'sparse_from is {self.sparse_from} and dense_from {self.dense_from}; they are '
                'shares of the steps, the first below the second and both from 0 to below 1'
            )
        if not self.rate > 0:
            raise CompressionFailed(f'a rate of {self.rate} trains nothing; it is above 0')

    def state_dict(self) -> dict[str, Any]:
        """Add the phase."""
        return {**super().state_dict(), 'phase': self.phase}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the phase; no run goes back to an earlier one."""
        super().load_state_dict(state_dict)
        self.phase = state_dict['phase']

    def masks(self) -> dict[str, Tensor]:
        """Hold zeros in the sparse phase only: in the others they would stay so."""
        return super().masks() if self.phase == SPARSE else {}

    @torch.no_grad()
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Enter the next phase when it is time for that; what was before is validated first."""
        assert self.since is not None
        steps = int(trainer.estimated_stepping_batches) - self.since
        step = trainer.global_step - self.since
        if self.phase == FIRST and step >= int(self.sparse_from * steps):
            self._prune()
        if self.phase == SPARSE and step >= int(self.dense_from * steps):
            self._bring_back(trainer)

    def _prune(self) -> None:
        self.phase = SPARSE
        self.kept = self.masks()
        for name, kept in self.kept.items():
            weight = self.weights[name]
            kept &= largest(weight, self.layers.get(name, self.density))
            weight.mul_(kept)

    def _bring_back(self, trainer: Trainer) -> None:
        self.phase = LAST
        for optimizer in trainer.optimizers:
            self._forget_momentum(optimizer)
            for group in optimizer.param_groups:
                group['lr'] *= self.rate  # of this step, which the schedule has set already
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            schedule.base_lrs = [self.rate * rate for rate in schedule.base_lrs]
        self.kept = {}
        forget_best(trainer)

    def _forget_momentum(self, optimizer: torch.optim.Optimizer) -> None:
        """Let weights that come back start at rest."""
        for name, kept in self.kept.items():
            for value in optimizer.state.get(self.weights[name], {}).values():
                if isinstance(value, Tensor) and value.shape == kept.shape:
                    value.mul_(kept)
