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
Knowledge distillation: a network learns a larger one's logits beside the true classes.

The teacher classifies each batch during training, as the student sees it. Source: Hinton, Vinyals,
Dean, Distilling the knowledge in a neural network, arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, kl_div, log_softmax

from training.data.sources import distinct
from training.errors import TrainingError

SHOWN = 3  # labels in an error message


@dataclass(frozen=True)
class Teacher:
    """A trained network, kept apart from the student's parameters and its checkpoint."""

    net: nn.Module  # images (N, H, W, 3) in RGB order, 0 to 255 -> logits (N, classes)
    size: tuple[int, int]  # height and width of its input, pixels

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Return the logits, (N, classes), of ``images`` uint8 (N, H, W, 3) in RGB order."""
        planes = images.permute(0, 3, 1, 2).float()
        if tuple(planes.shape[2:]) != self.size:
            planes = interpolate(planes, self.size, mode='bilinear', antialias=True)
        return self.net(planes.permute(0, 2, 3, 1)).float()


class TimmNet(nn.Module):
    """A pretrained timm model behind its normalisation, for the classes of the student."""

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        """Download the weights unless timm has them. Raises TrainingError."""
        super().__init__()
        self.net = _pretrained(name)
        config = self.net.pretrained_cfg
        for key in ('mean', 'std'):
            values = 255 * torch.tensor(config[key]).view(-1, 1, 1)  # timm's are for 0 to 1
            self.register_buffer(key, values)
        self.register_buffer('classes', torch.tensor(_classes(name, config, labels)))
        self.size = tuple(config['input_size'][1:])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, labels) of ``images`` (N, H, W, 3) in RGB order, 0 to 255."""
        x = (images.permute(0, 3, 1, 2) - self.mean) / self.std
        return self.net(x)[:, self.classes]


def from_timm(name: str, labels: Sequence[str]) -> Teacher:
    """Return the pretrained timm model of that name as a teacher. Raises TrainingError."""
    net = TimmNet(name, labels).eval().requires_grad_(False)
    return Teacher(net, net.size)


def distance(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """
    Return the mean divergence of ``logits`` from a teacher's, both (N, classes), in nats.

    It is multiplied by the temperature's square, which keeps its gradient at one scale.
    """
    own, wanted = (log_softmax(values / temperature, 1) for values in (logits, wanted))
    return temperature**2 * kl_div(own, wanted, reduction='batchmean', log_target=True)


def _pretrained(name: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise TrainingError(
            f'teacher {name}: timm is not installed; pip install timm, or give a checkpoint '
            '(.ckpt) of training.train'
        ) from error
    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # whatever timm, its hub and the network raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(
            f'teacher {name}: timm can not load it: {reason}; timm.list_pretrained() in Python '
            'lists its models'
        ) from error


def _classes(name: str, config: dict, labels: Sequence[str]) -> list[int]:
    """Return the number that each label has among the model's classes. Raises TrainingError."""
    known = {label: i for labels in _known(config) for i, label in enumerate(labels)}
    unknown = [label for label in labels if label not in known]
    if unknown:
        more = ', ...' if len(unknown) > SHOWN else ''
        raise TrainingError(
            f'teacher {name} does not know the class {", ".join(unknown[:SHOWN])}{more} among its '
            f'{config["num_classes"]:,}; name the folders by its classes, or train a teacher on '
            'these images and give its checkpoint'
        )
    return [known[label] for label in labels]


def _known(config: dict) -> list[Sequence[str]]:
    """Return the names of a model's classes: its own, or ImageNet's WordNet ids and synonyms."""
    if config.get('label_names'):
        return [config['label_names']]
    if config['num_classes'] != 1000:
        return []
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    ids = info.label_names()
    return [ids, distinct([[text] for text in info.label_descriptions()], ids)]
