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
"""The settings of a training run that belong to the network: ``--model.*`` of training.train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from training.errors import ArchitectureInvalid, CheckpointInvalid, TrainingError
from training.networks.architecture import Architecture

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's values, in RGB
# What a resumed run has in common with its checkpoint, beside the preprocessing.
NETWORK = ('architecture', 'baseline', 'train_from')


@dataclass(frozen=True)
class Preprocessing:
    """The network's input for a value x, 0 to 255: (x - mean) / std, in the order of color."""

    color: str  # 'rgb' or 'bgr'
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class ModelConfig:
    """
    The network, what it starts from, what it learns from and how.

    :param architecture: The network; its number of classes is taken from the labels.
    :param baseline: A network of training.models in the architecture's place, to compare with.
    :param start: A model file or a checkpoint (.ckpt) to start from: its weights, except the
        last layer's where its labels differ, and its preprocessing. For a baseline: a
        checkpoint of it or torchvision's published weights (.pth), without preprocessing.
    :param train_from: The first layer that is trained, such as fire6 or conv10; those before
        it keep the weights of the start.
    :param color: The channel order of the network's input. Default: the start's or 'rgb'.
    :param mean: Of red, green and blue, subtracted; 0 to 255. Default: the start's or
        ImageNet's.
    :param std: Of red, green and blue, divided by; 0 to 255. Default: the start's or
        ImageNet's.
    :param optimizer: 'sgd', or 'muon' for networks with batch norm.
    :param learning_rate: The highest; it falls linearly to zero from there.
    :param momentum: Nesterov's.
    :param others_rate: With muon, the learning rate of norms, biases and the last layer.
    :param weight_decay: With sgd, on weights, not on norms and biases.
    :param label_smoothing: Probability spread over all classes.
    :param warmup: Share of all steps in which the learning rate rises from zero.
    :param teacher: A network whose logits are learned too: a checkpoint of training.train
        (.ckpt) for the same classes, or the name of a pretrained timm model that knows them.
    :param teacher_weight: The share of the loss that compares with the teacher; the rest
        compares with the true classes.
    :param temperature: Both networks' logits are divided by this before they are compared.
    """

    architecture: Architecture
    baseline: str | None = None
    start: str | None = None
    train_from: str | None = None
    color: Literal['rgb', 'bgr'] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    optimizer: Literal['sgd', 'muon'] = 'sgd'
    learning_rate: float = 0.04
    momentum: float = 0.9
    others_rate: float = 0.02
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    warmup: float = 0.0
    teacher: str | None = None
    teacher_weight: float = 0.9
    temperature: float = 4.0

    def check(self) -> None:
        """Raise TrainingError for settings that are out of range or contradict each other."""
        if not 0 <= self.teacher_weight <= 1 or self.temperature <= 0:
            raise TrainingError(
                f'teacher_weight is {self.teacher_weight}, temperature {self.temperature}; choose '
                'a weight between 0 and 1 and a temperature above 0'
            )
        if self.train_from and not self.start:
            raise ArchitectureInvalid(
                f'the layers before {self.train_from} would stay random; give --model.start, or '
                'leave out --model.train_from'
            )
        if self.baseline:
            self._check_baseline()
        elif self.start:
            self._check_preprocessing()

    def _check_baseline(self) -> None:
        if self.start and self.start.endswith('.sqz'):
            raise ArchitectureInvalid(
                f'{self.start} is of a SqueezeNet; leave out --model.baseline, or give weights of '
                f'{self.baseline}'
            )
        if self.train_from:
            raise ArchitectureInvalid('a baseline is trained whole; leave out --model.train_from')

    def _check_preprocessing(self) -> None:
        for name in ('color', 'mean', 'std'):
            if getattr(self, name) is not None:
                raise ArchitectureInvalid(
                    '--model.start brings a SqueezeNet with its preprocessing; leave out '
                    f'--model.{name}'
                )


@dataclass(frozen=True)
class Description:
    """What a checkpoint of training.train holds beside the weights."""

    config: ModelConfig  # as it was given, with the number of classes
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    size: int  # height and width of the images, pixels

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, which torch.load reads without running code."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Description:
        """Return what ``plain`` gave; of other values, raise whatever they lead to."""
        config = dict(plain['config'])
        architecture = Architecture(**config.pop('architecture'))
        return cls(
            ModelConfig(architecture, **config),
            Preprocessing(**plain['preprocessing']),
            tuple(plain['labels']),
            plain['size'],
        )

    def check_same_network(self, other: Description, path: str) -> None:
        """Raise CheckpointInvalid where ``other``, read from ``path``, is of another network."""
        same = all(getattr(self.config, name) == getattr(other.config, name) for name in NETWORK)
        if not same or self.preprocessing != other.preprocessing:
            raise CheckpointInvalid(
                f'{path} is of another network; resume with the recipe that it was trained with'
            )
