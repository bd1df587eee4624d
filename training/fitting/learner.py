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
"""The Lightning module: a network with its preprocessing, its labels and its settings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from training.data.augmentation import seeded
from training.errors import ArchitectureInvalid, DataError, TrainingDiverged
from training.fitting.distillation import Teacher, distance, from_timm
from training.fitting.muon import Muon
from training.fitting.start import begin, begin_baseline, freeze
from training.model_files.checkpoints import OTHER_VERSION, invalid, load_content
from training.networks.config import MEAN, STD, Description, ModelConfig, Preprocessing
from training.networks.models import SqueezeNet, build
from training.networks.norms import settle

# Nats. A larger loss means that the network is ruined, though it may come back to ln(classes).
MOST = 1e6
CHECKED = 50  # steps at once: to look at a number is to wait for the GPU
# The images that initialise new norms: so many, or so many pixels if that is less.
SETTLING = (1024, 2**24)


class Learner(LightningModule):
    """A SqueezeNet, or a baseline beside it, that learns the classes of its labels."""

    def __init__(self, labels: tuple[str, ...], size: int, **config: Any) -> None:
        """
        Build the network with as many classes as there are labels. Raises TrainingError.

        :param labels: Names of the classes, from the data.
        :param size: Height and width of the images, pixels, from the data.
        :param config: The fields of ModelConfig.
        """
        super().__init__()
        given = ModelConfig(**config)
        given.check()
        net, values = self._started(given, labels, size)
        self.frozen = freeze(net, given.train_from) if given.train_from else []
        self.net = net.to(memory_format=torch.channels_last)
        self.register_buffer('mean', torch.tensor(values.mean).view(1, 3, 1, 1), persistent=False)
        scale = 1 / torch.tensor(values.std).view(1, 3, 1, 1)
        self.register_buffer('scale', scale, persistent=False)
        architecture = replace(given.architecture, classes=len(labels))
        self.config = replace(given, architecture=architecture)
        self.description = Description(self.config, values, labels, size)
        self.teacher = find_teacher(given.teacher, labels) if given.teacher else None
        self.begun = self.spent = 0.0
        # Of the last steps: number, the loss and the largest logit.
        self.unchecked: list[tuple[int, Tensor]] = []
        self.train_loss = MeanMetric(nan_strategy='disable')  # looking for them would wait
        self.train_top1 = MulticlassAccuracy(len(labels), average='micro', validate_args=False)
        # Lightning's own mean is wrong where one process validates more images than another.
        self.val_loss = MeanMetric()
        self.val_top1 = MulticlassAccuracy(len(labels), average='micro')
        self.val_top5 = MulticlassAccuracy(len(labels), top_k=min(5, len(labels)), average='micro')

    def _started(
        self, given: ModelConfig, labels: tuple[str, ...], size: int
    ) -> tuple[nn.Module, Preprocessing]:
        """Return the network with its first weights, and its preprocessing."""
        self.new_head = self.new_norms = False
        values = Preprocessing(given.color or 'rgb', given.mean or MEAN, given.std or STD)
        if given.baseline:
            net = build(given.baseline, len(labels))
            if given.start:
                begin_baseline(net, given.start)
        else:
            net = SqueezeNet(replace(given.architecture, classes=len(labels)))
            if given.start:
                begun = begin(net, given.start, labels, size)
                values = begun.preprocessing
                self.new_head, self.new_norms = begun.new_head, begun.new_norms
        normed = any(isinstance(module, nn.BatchNorm2d) for module in net.modules())
        if given.optimizer == 'muon' and not normed:
            raise ArchitectureInvalid(
                'muon leaves the scale of the weights to norms; use --model.optimizer sgd, or '
                '--model.architecture.norm true'
            )
        return net, values

    def forward(self, images: Tensor) -> Tensor:
        """Pictures uint8 (N, H, W, 3) in RGB order -> logits float32 (N, classes)."""
        return self.net(self.normalised(images)).float()

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures uint8 (N, H, W, 3) in RGB order -> what the network sees, (N, 3, H, W)."""
        x = images if self.description.preprocessing.color == 'rgb' else images.flip(3)
        x = x.permute(0, 3, 1, 2)  # channels last in memory already
        return (x - self.mean) * self.scale

    def train(self, mode: bool = True) -> Learner:
        """Set training mode; norms of frozen layers go on with what they have counted."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def setup(self, stage: str) -> None:
        """Initialise newly added batch norms before DDP broadcasts the weights."""
        if stage != 'fit' or not self.new_norms:
            return
        most, pixels = SETTLING
        images = self.trainer.datamodule.sample(
            max(1, min(most, pixels // self.description.size**2))
        )
        settle(self.net, self.normalised(images))
        if self.new_head:
            self.net.reset_head()
        self.new_norms = False

    def on_train_start(self) -> None:
        """Put frozen layers in evaluation mode, and the teacher on the student's device."""
        self.train()
        if self.teacher:
            self.teacher.net.to(self.device)

    def on_train_batch_start(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """In an epoch's first: take the time, and let dropout depend on the epoch alone."""
        if batch_idx:
            return  # there is on_train_epoch_start, but not in the first epoch of a resumed run
        self.begun = time.perf_counter()
        where = self.trainer.datamodule.seed, self.current_epoch, 2, self.global_rank
        torch.manual_seed(seeded(*where).initial_seed())

    def on_train_batch_end(self, *_: Any) -> None:
        """Look at the last steps, and take the time; the epoch ends only after validation."""
        if len(self.unchecked) == CHECKED or self.trainer.is_last_batch:
            self._check()
        self.spent = time.perf_counter() - self.begun

    def on_train_epoch_end(self) -> None:
        """Tell how the epoch's steps went, and how long they took, in seconds."""
        self._check()  # where the run ends amid an epoch
        self.log('train/loss', self.train_loss)
        self.log('train/top1', self.train_top1)
        self.log('train/seconds', self.spent)

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Return the loss of a batch as the data module gives it."""
        images, targets = batch
        logits = self(images)
        loss = cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing)
        if self.teacher:
            apart = distance(logits, self.teacher.logits(images), self.config.temperature)
            loss = torch.lerp(loss, apart, self.config.teacher_weight)
        seen = torch.stack((loss, logits.abs().amax())).detach()
        self.unchecked.append((self.global_step, seen))
        self.train_loss.update(loss.detach())
        # Of a mixed picture the class that most of it shows.
        self.train_top1.update(logits, targets if targets.ndim == 1 else targets.argmax(1))
        return loss

    def _check(self) -> None:
        """Raise TrainingDiverged for an absurd loss of the last steps, and for answers of zero."""
        if not self.unchecked:
            return
        steps, seen = zip(*self.unchecked, strict=True)
        self.unchecked.clear()
        here = torch.stack(seen)  # (steps, 2)
        # Of all processes: one that stopped alone would leave the others waiting for it.
        all_ = self.all_gather(here).view(-1, *here.shape)
        totals, largest = all_.sum(0)[:, 0].tolist(), all_.amax(0)[:, 1].tolist()
        for step, total, most in zip(steps, totals, largest, strict=True):
            if not total <= MOST:  # a loss that is no number is not either
                raise self._diverged(step, f'the loss became {total:.4g}')
            if not most:
                died = 'every answer became zero: the ReLU behind the last layer died'
                raise self._diverged(step, died)

    def _diverged(self, step: int, what: str) -> TrainingDiverged:
        return TrainingDiverged(
            f'{what} in epoch {self.current_epoch}, step {step}; lower '
            '--model.learning_rate or raise --model.warmup'
        )

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Loss without smoothing, top-1 and top-5."""
        images, targets = batch
        logits = self(images)
        self.val_top1(logits, targets)
        self.val_top5(logits, targets)
        self.val_loss(cross_entropy(logits, targets), len(targets))
        self.log('val/loss', self.val_loss)
        self.log('val/top1', self.val_top1, prog_bar=True)
        self.log('val/top5', self.val_top5)

    def configure_optimizers(self) -> dict[str, Any]:
        """Return the optimizer; its rates rise and fall linearly."""
        optimizer = self._muon() if self.config.optimizer == 'muon' else self._sgd()
        steps = int(self.trainer.estimated_stepping_batches)
        share = partial(rate_share, steps=steps, warmup=self.config.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def check_classes(self, labels: Sequence[str], path: str) -> None:
        """Raise DataError where the pictures at ``path`` are of other classes than the network."""
        if tuple(labels) != self.description.labels:
            raise DataError(
                f'{path} has other classes than the network; give the pictures that it was '
                'trained on'
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put beside the weights, as plain values, all that it takes to export them."""
        checkpoint['sqz_perception'] = self.description.plain()

    def _sgd(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.trained() if p.ndim > 1]
        others = [p for p in self.trained() if p.ndim <= 1]
        groups = [
            {'name': 'weights', 'params': decayed, 'weight_decay': self.config.weight_decay},
            {'name': 'others', 'params': others, 'weight_decay': 0.0},
        ]
        return torch.optim.SGD(
            [group for group in groups if group['params']],
            lr=self.config.learning_rate,
            momentum=self.config.momentum,
            nesterov=self.config.momentum > 0,
            fused=True,
        )

    def _muon(self) -> torch.optim.Optimizer:
        *_, last = (m for m in self.net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        head = set(last.parameters())
        turned = [p for p in self.trained() if p.ndim > 1 and p not in head]
        others = [p for p in self.trained() if p.ndim <= 1 or p in head]
        config = self.config
        return Muon(turned, others, config.learning_rate, config.others_rate, config.momentum)

    def trained(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that are not frozen."""
        return (p for p in self.parameters() if p.requires_grad)


def load(path: str) -> Learner:
    """Return what a checkpoint of training.train holds. Raises CheckpointInvalid."""
    content = load_content(path)
    found = content['sqz_perception']
    anew = {'start': None, 'train_from': None, 'teacher': None}
    config = replace(found.config, **anew, **vars(found.preprocessing))
    learner = Learner(found.labels, found.size, **vars(config))
    try:
        learner.load_state_dict(content['state_dict'])
    except Exception as error:  # whatever a missing key or another shape gives
        raise invalid(path, OTHER_VERSION) from error
    return learner.eval()


def find_teacher(name: str, labels: tuple[str, ...]) -> Teacher:
    """Return the teacher that ``--model.teacher`` names. Raises TrainingError."""
    if not name.endswith('.ckpt'):
        return from_timm(name, labels)
    net = load(name).requires_grad_(False)
    if net.description.labels != labels:
        raise DataError(
            f'teacher {name} has other classes than the data; give a checkpoint of a network for '
            f'{", ".join(labels[:5])}'
        )
    return Teacher(net, (net.description.size, net.description.size))


def rate_share(step: int, *, steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate at ``step``: a rise, then a fall to zero."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return max(0.0, (steps - step) / max(1, steps - rise))
