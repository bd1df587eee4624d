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
"""The networks of the SqueezeNet family, and all networks by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from training.errors import ArchitectureInvalid
from training.networks.architecture import PRESETS, STEMS, Architecture
from training.networks.baselines import BASELINES


class Fire(nn.Module):
    """Squeeze, expand, concatenate: (N, C, H, W) -> (N, expand1x1 + expand3x3, H, W)."""

    def __init__(
        self,
        channels: int,
        squeeze: int,
        expand1x1: int,
        expand3x3: int,
        norm: bool = False,
        bypass: str = 'none',
        add_first: bool = False,
    ) -> None:
        """``bypass`` as in Architecture: where it does not fit, nothing is added."""
        super().__init__()
        expand = expand1x1 + expand3x3
        self.squeeze1x1 = nn.Conv2d(channels, squeeze, 1, bias=not norm)
        self.squeeze_norm = _norm(squeeze, norm)
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, 1, bias=not norm)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1, bias=not norm)
        # One norm over the concatenation does the same as one for each half, in fewer passes.
        self.expand_norm = _norm(expand, norm)
        fits = channels == expand
        self.project: nn.Conv2d | None = None
        if bypass == 'complex' and not fits:
            self.project = nn.Conv2d(channels, expand, 1, bias=not norm)
            self.project_norm = _norm(expand, norm)
        self.bypass = self.project is not None or (bypass != 'none' and fits)
        self.add_first = self.bypass and (norm or add_first)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, expand1x1 + expand3x3, H, W) for ``x`` (N, channels, H, W)."""
        s = self.squeeze_norm(self.squeeze1x1(x)).relu_()  # (N, squeeze, H, W)
        e = torch.cat((self.expand1x1(s), self.expand3x3(s)), dim=1)  # (N, expand, H, W)
        e = self.expand_norm(e)
        if not self.bypass:
            return e.relu_()
        shortcut = x if self.project is None else self.project_norm(self.project(x))
        return (shortcut + e).relu_() if self.add_first else shortcut + e.relu_()


class SqueezeNet(nn.Module):
    """Normalised pictures (N, 3, H, W) -> logits (N, classes)."""

    def __init__(self, architecture: Architecture) -> None:
        """Layers carry the paper's names: conv1, pool1, fire2, ..., conv10."""
        super().__init__()
        self.architecture = a = architecture
        stem = STEMS[a.stem]
        self.conv1 = nn.Conv2d(
            3, stem.channels, stem.kernel, stem.stride, stem.pad, bias=not a.norm
        )
        self.norm1 = _norm(stem.channels, a.norm)
        self.fires = nn.ModuleDict()
        channels, pools = stem.channels, a.halvings()
        if 0 in pools:
            self.fires['pool1'] = max_pool()
        for i in range(a.fires):
            squeeze, expand1x1, expand3x3 = a.fire(i)
            self.fires[f'fire{i + 2}'] = Fire(
                channels, squeeze, expand1x1, expand3x3, a.norm, a.bypass, a.add_first
            )
            if i + 1 in pools:
                self.fires[f'pool{i + 2}'] = max_pool()
            channels = expand1x1 + expand3x3
        self.dropout = nn.Dropout(a.dropout)
        self.conv10 = nn.Conv2d(channels, a.classes, 1)
        self.head_relu = stem.head_relu
        self.reset()

    def reset(self) -> None:
        """Random weights: Kaiming for what a ReLU follows, small ones for the last layer."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.reset_head()

    def reset_head(self) -> None:
        """Random weights for the last layer only."""
        nn.init.normal_(self.conv10.weight, std=0.01)
        nn.init.zeros_(self.conv10.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, classes) of normalised pictures ``x`` (N, 3, H, W)."""
        x = self.norm1(self.conv1(x)).relu_()
        for layer in self.fires.values():
            x = layer(x)
        x = self.conv10(self.dropout(x))  # (N, classes, H, W)
        if self.head_relu:
            x = x.relu_()
        return x.mean(dim=(2, 3))  # (N, classes)


def max_pool() -> nn.MaxPool2d:
    """Halve height and width, as everywhere in the family."""
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


def load_torchvision(net: SqueezeNet, state: Mapping[str, Tensor]) -> None:
    """
    Give ``net`` the weights of torchvision's SqueezeNet of the same version.

    Both list their layers in the network's order, so only the names differ. Raises
    ArchitectureInvalid where the weights are of another network.
    """
    own = net.state_dict()
    if [v.shape for v in own.values()] != [v.shape for v in state.values()]:
        raise ArchitectureInvalid(
            'these are not the weights of this SqueezeNet: their number or their shapes differ; '
            'choose the version that they are for'
        )
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))


def build(name: str, classes: int | None = None) -> nn.Module:
    """
    Return the network of that name, with random weights.

    ``classes`` takes the place of its own number. Raises ArchitectureInvalid for an unknown name.
    """
    if name in PRESETS:
        architecture = PRESETS[name]
        return SqueezeNet(replace(architecture, classes=classes or architecture.classes))
    if name in BASELINES:
        return BASELINES[name].build(classes or BASELINES[name].classes)
    raise ArchitectureInvalid(f'there is no network {name!r}; there are {", ".join(names())}')


def names() -> list[str]:
    """Return the names of all networks."""
    return [*PRESETS, *BASELINES]


def _norm(channels: int, norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm else nn.Identity()
