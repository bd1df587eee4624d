# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What Lightning trains: a network with its preprocessing, its labels and its recipe."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, kl_div, log_softmax
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from sqz_perception.errors import (
    ArchitectureInvalid,
    DataError,
    SqzError,
    TrainingDiverged,
    TrainingError,
)
from training import cuda_graph
from training.architecture import Architecture
from training.export import OTHER_VERSION, invalid, load_content
from training.models import SqueezeNet, build
from training.muon import Muon
from training.norms import settle
from training.order import seeded
from training.start import Preprocessing, begin, begin_baseline, check_left_out, freeze

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's values, in RGB
# Nats. A network that was there is ruined, though its loss may come back to ln(classes).
MOST = 1e6
CHECKED = 50  # steps at once: to look at a number is to wait for the GPU
# What tells norms their mean and deviation: so many pictures, or so many pixels if that is less.
SETTLING = (1024, 2**24)


class Learner(LightningModule):
    """A SqueezeNet, or a baseline beside it, that learns the classes of its labels."""

    def __init__(
        self,
        architecture: Architecture,
        labels: tuple[str, ...],
        size: int,
        baseline: str | None = None,
        start: str | None = None,
        enlarge: int = 1,
        train_from: str | None = None,
        color: Literal['rgb', 'bgr'] | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        optimizer: Literal['sgd', 'muon'] = 'sgd',
        learning_rate: float = 0.04,
        momentum: float = 0.9,
        others_rate: float = 0.02,
        weight_decay: float = 5e-4,
        label_smoothing: float = 0.0,
        warmup: float = 0.0,
        teacher_share: float = 0.9,
        temperature: float = 4.0,
        left_out: tuple[int, int] | None = None,
    ) -> None:
        """
        Build the network with as many classes as there are labels.

        :param architecture: The network; its number of classes is taken from the labels.
        :param labels: Names of the classes, from the data.
        :param size: Height and width of the pictures, pixels, from the data.
        :param baseline: A network of training.models in the architecture's place, to compare with.
        :param start: A model file or a checkpoint (.ckpt) to begin with: its weights, but the last
            layer's where its labels are others, and its preprocessing. For a baseline: its
            published weights, a state dict (.pth), or a checkpoint of it: the weights alone.
        :param enlarge: How many times higher and wider than the pictures what the network sees is;
            for a teacher that was trained on things of more pixels.
        :param train_from: The first layer that is trained, such as fire6 or conv10; those before
            it stay as they are in the file.
        :param color: The order that the network takes colours in. Default: the start's or 'rgb'.
        :param mean: Of red, green and blue, subtracted; 0 to 255. Default: the start's or
            ImageNet's.
        :param std: Of red, green and blue, divided by; 0 to 255. Default: the start's or
            ImageNet's.
        :param optimizer: 'sgd', or 'muon' for networks with norms.
        :param learning_rate: The highest; it falls linearly to zero from there.
        :param momentum: Nesterov's.
        :param others_rate: With muon, the rate of norms, biases and the last layer.
        :param weight_decay: With sgd, on weights, not on norms and biases.
        :param label_smoothing: Probability spread over all classes.
        :param warmup: Share of all steps in which the rate rises from zero.
        :param teacher_share: With --data.answers: of the loss, the part that compares with the
            teacher's answers, the rest being for the true classes.
        :param temperature: With --data.answers: what both logits are divided by, to be compared.
        :param left_out: The part of the pictures, of how many, that it is not trained on; from the
            data.
        """
        super().__init__()
        architecture = replace(architecture, classes=len(labels))
        if not 0 <= teacher_share <= 1 or temperature <= 0 or enlarge < 1:
            raise TrainingError(
                f'teacher_share {teacher_share} must be between 0 and 1, temperature '
                f'{temperature} above 0, enlarge {enlarge} at least 1'
            )
        check_start(baseline, start, train_from)
        if left_out and start and start.endswith('.ckpt'):
            check_left_out(start, left_out)
        if start and not baseline:
            check_given(color=color, mean=mean, std=std)
        net = build(baseline, len(labels)) if baseline else SqueezeNet(architecture)
        if optimizer == 'muon' and not any(isinstance(m, nn.BatchNorm2d) for m in net.modules()):
            raise ArchitectureInvalid(
                'muon leaves the scale of the weights to norms; use --model.optimizer sgd, or '
                '--model.architecture.norm true'
            )
        values = Preprocessing(color or 'rgb', mean or MEAN, std or STD)
        self.new_head = self.new_norms = False
        if start and baseline:
            begin_baseline(net, start)
        elif start:
            begun = begin(net, start, labels, size * enlarge)
            values = begun.preprocessing
            self.new_head, self.new_norms = begun.new_head, begun.new_norms
        self.frozen = freeze(net, train_from) if train_from else []
        self.net = net.to(memory_format=torch.channels_last)
        self.color = values.color
        self.register_buffer('mean', torch.tensor(values.mean).view(1, 3, 1, 1), persistent=False)
        scale = 1 / torch.tensor(values.std).view(1, 3, 1, 1)
        self.register_buffer('scale', scale, persistent=False)
        self.description: dict[str, Any] = {
            'architecture': asdict(architecture),
            'labels': list(labels),
            'size': size,
            'left_out': left_out and list(left_out),
            'color': values.color,
            'mean': list(values.mean),
            'std': list(values.std),
            'baseline': baseline,
            'train_from': train_from,
            'enlarge': enlarge,
        }
        self.enlarge = enlarge
        self.optimizer, self.learning_rate, self.momentum = optimizer, learning_rate, momentum
        self.others_rate, self.weight_decay, self.warmup = others_rate, weight_decay, warmup
        self.label_smoothing, self.begun, self.spent = label_smoothing, 0.0, 0.0
        self.teacher_share, self.temperature = teacher_share, temperature
        # Of the last steps: number, the loss and the largest logit.
        self.unchecked: list[tuple[int, Tensor]] = []
        self.train_loss = MeanMetric(nan_strategy='disable')  # looking for them would wait
        self.train_top1 = MulticlassAccuracy(len(labels), average='micro', validate_args=False)
        # Lightning's own mean is wrong where one process validates more pictures than another.
        self.val_loss = MeanMetric()
        self.val_top1 = MulticlassAccuracy(len(labels), average='micro')
        self.val_top5 = MulticlassAccuracy(len(labels), top_k=min(5, len(labels)), average='micro')

    def forward(self, images: Tensor) -> Tensor:
        """Pictures uint8 (N, H, W, 3) in RGB order -> logits float32 (N, classes)."""
        return self.net(self.normalised(images)).float()

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures uint8 (N, H, W, 3) in RGB order -> what the network sees, (N, 3, H, W)."""
        x = images if self.color == 'rgb' else images.flip(3)
        x = x.permute(0, 3, 1, 2)  # channels last in memory already
        x = (x - self.mean) * self.scale
        if self.enlarge == 1:
            return x
        return interpolate(x, scale_factor=self.enlarge, mode='bilinear', align_corners=False)

    def train(self, mode: bool = True) -> Learner:
        """Set training mode; norms of frozen layers go on with what they have counted."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def setup(self, stage: str) -> None:
        """Let norms that a file had not normalise, before any other process takes them over."""
        if stage != 'fit' or not self.new_norms:
            return
        most, pixels = SETTLING
        side = self.description['size'] * self.enlarge
        pictures = self.trainer.datamodule.sample(max(1, min(most, pixels // side**2)))
        settle(self.net, self.normalised(pictures))
        if self.new_head:
            self.net.reset_head()
        self.new_norms = False

    def on_train_start(self) -> None:
        """Let a GPU replay the network's passes, where it trains alone and step by step."""
        self.train()  # whoever had it answer before may have set all of the network to training
        together = self.trainer.world_size > 1 or self.trainer.accumulate_grad_batches > 1
        if self.device.type != 'cuda' or together:
            return
        data = self.trainer.datamodule
        pictures = self.normalised(data.sample(data.batch_size).to(self.device))
        cuda_graph.record(self.net, pictures, self.trainer.precision_plugin.forward_context())

    def on_train_end(self) -> None:
        """Leave a network that anything can be done with."""
        cuda_graph.forget(self.net)

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
        images, targets, *answers = batch
        logits = self(images)
        loss = cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if answers:
            apart = distance(logits, answers[0], self.temperature)
            loss = (1 - self.teacher_share) * loss + self.teacher_share * apart
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
        optimizer = self._muon() if self.optimizer == 'muon' else self._sgd()
        steps = int(self.trainer.estimated_stepping_batches)
        share = partial(rate_share, steps=steps, warmup=self.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def check_classes(self, labels: Sequence[str], path: str) -> None:
        """Raise DataError where the pictures at ``path`` are of other classes than the network."""
        if list(labels) != self.description['labels']:
            raise DataError(
                f'{path} has other classes than the network; give the pictures that it was '
                'trained on'
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put beside the weights, as plain values, all that it takes to export them."""
        checkpoint['sqz_perception'] = self.description

    def _sgd(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.trained() if p.ndim > 1]
        others = [p for p in self.trained() if p.ndim <= 1]
        groups = [
            {'name': 'weights', 'params': decayed, 'weight_decay': self.weight_decay},
            {'name': 'others', 'params': others, 'weight_decay': 0.0},
        ]
        return torch.optim.SGD(
            [group for group in groups if group['params']],
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            fused=True,
        )

    def _muon(self) -> torch.optim.Optimizer:
        *_, last = (m for m in self.net.modules() if isinstance(m, nn.Conv2d | nn.Linear))
        head = set(last.parameters())
        turned = [p for p in self.trained() if p.ndim > 1 and p not in head]
        others = [p for p in self.trained() if p.ndim <= 1 or p in head]
        return Muon(turned, others, self.learning_rate, self.others_rate, self.momentum)

    def trained(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that are not frozen."""
        return (p for p in self.parameters() if p.requires_grad)


def load(path: str) -> Learner:
    """Return what a checkpoint of training.train holds. Raises CheckpointInvalid."""
    content = load_content(path)
    found = content['sqz_perception']
    try:
        learner = Learner(
            Architecture(**found['architecture']),
            tuple(found['labels']),
            found['size'],
            found['baseline'],
            color=found['color'],
            mean=tuple(found['mean']),
            std=tuple(found['std']),
            enlarge=found['enlarge'],
            left_out=found['left_out'] and tuple(found['left_out']),
        )
        learner.load_state_dict(content['state_dict'])
        learner.description['train_from'] = found['train_from']  # nothing is frozen here
    except SqzError:
        raise
    except Exception as error:  # whatever a missing key or another shape gives
        raise invalid(path, OTHER_VERSION) from error
    return learner.eval()


def check_start(baseline: str | None, start: str | None, train_from: str | None) -> None:
    """Raise ArchitectureInvalid where the recipe contradicts what it begins with."""
    if baseline and start and start.endswith('.sqz'):
        raise ArchitectureInvalid(
            f'{start} is of a SqueezeNet; leave out --model.baseline, or give weights of that'
        )
    if train_from and not start:
        raise ArchitectureInvalid(
            f'the layers before {train_from} would stay random; give --model.start, or leave out '
            '--model.train_from'
        )
    if train_from and baseline:
        raise ArchitectureInvalid('a baseline is trained whole; leave out --model.train_from')


def check_given(**values: object) -> None:
    """Raise ArchitectureInvalid for a value that the file to begin with brings."""
    given = [f'--model.{name}' for name, value in values.items() if value is not None]
    if given:
        raise ArchitectureInvalid(
            f'--model.start brings a SqueezeNet with its preprocessing; leave out {given[0]}'
        )


def distance(logits: Tensor, answers: Tensor, temperature: float) -> Tensor:
    """
    Return the mean divergence of ``logits`` from a teacher's ``answers``, both (N, classes).

    Nats, times the temperature's square: so its gradient is as large at any temperature. Source:
    Hinton, Vinyals, Dean, Distilling the knowledge in a neural network, arXiv 1503.02531.
    """
    own, wanted = (log_softmax(values / temperature, 1) for values in (logits, answers))
    return temperature**2 * kl_div(own, wanted, reduction='batchmean', log_target=True)


def rate_share(step: int, *, steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate at ``step``: a rise, then a fall to zero."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return max(0.0, (steps - step) / max(1, steps - rise))
