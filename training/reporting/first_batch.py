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
"""A look at what a run trains on: its first pictures as they are changed, with their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor

MOST = 32  # pictures


class FirstBatch(Callback):
    """Draws pictures of the first batch, once, in the first of several processes."""

    def __init__(self, path: Path) -> None:
        """Draw them into ``path``, a PNG."""
        self.path = path
        self.drawn = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Sequence[Tensor], _: int
    ) -> None:
        """Draw what the network is about to see."""
        if self.drawn:
            return
        self.drawn = True
        if not trainer.is_global_zero:
            return
        from training.reporting import plots

        images, targets = (values[:MOST].cpu() for values in batch[:2])
        labels = pl_module.description.labels
        self.path.parent.mkdir(parents=True, exist_ok=True)
        plots.pictures(images.numpy(), [_title(one, labels) for one in targets], self.path)


def _title(target: Tensor, labels: Sequence[str]) -> str:
    """Return the class, or of a mixed picture both with what they have of it, percent."""
    if not target.is_floating_point():
        return labels[int(target)]
    shares, which = torch.topk(target, 2)
    if shares[1] == 0:
        return labels[int(which[0])]
    return '\n'.join(
        f'{labels[i]} {100 * share:.0f} %'
        for share, i in zip(shares.tolist(), which.tolist(), strict=True)
    )
