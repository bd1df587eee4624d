# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The SqueezeNet family, built from one dataclass.

A network is a stem, ``fires`` fire modules and a 1x1 convolution averaged over the picture. A
fire module squeezes with 1x1 filters and expands with a mix of 1x1 and 3x3 filters. Module i
(counted from 0, named fire2, fire3, ... as in the paper) has

    e_i   = base_e + incr_e * floor(i / freq)    expand filters
    e3x3  = pct_3x3 * e_i                        of them 3x3, the others 1x1
    s_i   = squeeze_ratio * e_i                  squeeze filters

Source: Iandola et al., SqueezeNet, arXiv 1602.07360, section 5 (metaparameters), section 6
(bypass). Batch norm and the stem for 32x32 pictures are additions of this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sqz_perception.errors import ArchitectureInvalid


@dataclass(frozen=True)
class Stem:
    """What comes before the first fire module, and where the pictures are halved."""

    size: int  # pixels; height and width of the input it was designed for
    channels: int  # filters of conv1
    kernel: int
    stride: int
    pad: int
    pools: tuple[float, ...]  # max pools after this share of the fire modules; 0 is conv1
    head_relu: bool  # ReLU between conv10 and the average, as in the paper


STEMS = {
    'v1.0': Stem(224, 96, 7, 2, 0, (0, 3 / 8, 7 / 8), True),  # arXiv 1602.07360, table 1
    'v1.1': Stem(224, 64, 3, 2, 0, (0, 1 / 4, 1 / 2), True),  # authors' v1.1: 2.4 times fewer MACs
    'small': Stem(32, 64, 3, 1, 1, (0, 1 / 2), False),  # ours, for CIFAR-size pictures
}
BYPASSES = ('none', 'simple')


@dataclass(frozen=True)
class Architecture:
    """
    All that decides a network's shape; the defaults are SqueezeNet v1.0.

    Args:
        base_e: Expand filters of the first fire module.
        incr_e: Expand filters added every ``freq`` fire modules.
        freq: Fire modules between two increases.
        pct_3x3: Share of the expand filters that are 3x3, the others being 1x1.
        squeeze_ratio: Squeeze filters to expand filters.
        fires: Number of fire modules.
        bypass: 'none', or 'simple': add a module's input to its output where they fit.
        stem: 'v1.0', 'v1.1' or 'small' (32x32 pictures): the first layer and the pools.
        norm: Batch norm after every convolution but the last.
        classes: Number of classes.
        dropout: Share dropped before the last convolution, in training only.

    """

    base_e: int = 128
    incr_e: int = 128
    freq: int = 2
    pct_3x3: float = 0.5
    squeeze_ratio: float = 0.125
    fires: int = 8
    bypass: str = 'none'
    stem: str = 'v1.0'
    norm: bool = False
    classes: int = 1000
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Refuse, in one line, what describes no network."""
        checks = {
            'base_e, freq, fires and classes must be at least 1': min(
                self.base_e, self.freq, self.fires, self.classes
            )
            >= 1,
            'incr_e must not be negative': self.incr_e >= 0,
            'pct_3x3 must be between 0 and 1, both excluded': 0 < self.pct_3x3 < 1,
            'squeeze_ratio must be above 0 and at most 1': 0 < self.squeeze_ratio <= 1,
            'dropout must be at least 0 and below 1': 0 <= self.dropout < 1,
            f'stem must be one of {", ".join(STEMS)}': self.stem in STEMS,
            f'bypass must be one of {", ".join(BYPASSES)}': self.bypass in BYPASSES,
        }
        for message, holds in checks.items():
            if not holds:
                raise ArchitectureInvalid(message)

    def fire(self, i: int) -> tuple[int, int, int]:
        """Squeeze, 1x1 and 3x3 filters of fire module i, each at least one."""
        expand = self.base_e + self.incr_e * (i // self.freq)
        expand3x3 = min(max(1, round(self.pct_3x3 * expand)), expand - 1)
        return max(1, round(self.squeeze_ratio * expand)), expand - expand3x3, expand3x3

    def pools(self) -> set[int]:
        """Numbers of fire modules after which a max pool follows; 0 is after conv1."""
        return {round(share * self.fires) for share in STEMS[self.stem].pools}

    @property
    def size(self) -> int:
        """Height and width of the input, pixels."""
        return STEMS[self.stem].size


PRESETS = {
    'squeezenet1_0': Architecture(),
    'squeezenet1_1': Architecture(stem='v1.1'),
    'squeezenet_small': Architecture(
        base_e=160,
        incr_e=64,
        freq=4,
        squeeze_ratio=0.25,
        bypass='simple',
        stem='small',
        norm=True,
        classes=10,
        dropout=0.0,
    ),
}


class Fire(nn.Module):
    """Squeeze, expand, concatenate: (N, C, H, W) -> (N, expand1x1 + expand3x3, H, W)."""

    def __init__(
        self, channels: int, squeeze: int, expand1x1: int, expand3x3: int, norm: bool, bypass: bool
    ) -> None:
        """``bypass`` adds the input to the output; the channels must then be equal."""
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(channels, squeeze, 1, bias=not norm)
        self.squeeze_norm = nn.BatchNorm2d(squeeze) if norm else nn.Identity()
        self.expand1x1 = nn.Conv2d(squeeze, expand1x1, 1, bias=not norm)
        self.expand3x3 = nn.Conv2d(squeeze, expand3x3, 3, padding=1, bias=not norm)
        # One norm over the concatenation does the same as one for each half, in fewer passes.
        self.expand_norm = nn.BatchNorm2d(expand1x1 + expand3x3) if norm else nn.Identity()
        self.bypass = bypass
        # As in the paper without norm and as in residual networks with it: sums of rectified
        # outputs only grow, and a norm does not hold them back (models/README.md).
        self.add_first = bypass and norm

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, expand1x1 + expand3x3, H, W) for ``x`` (N, channels, H, W)."""
        s = self.squeeze_norm(self.squeeze1x1(x)).relu_()  # (N, squeeze, H, W)
        e = torch.cat((self.expand1x1(s), self.expand3x3(s)), dim=1)  # (N, expand, H, W)
        e = self.expand_norm(e)
        if self.add_first:
            return (x + e).relu_()
        return x + e.relu_() if self.bypass else e.relu_()


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
        self.norm1 = nn.BatchNorm2d(stem.channels) if a.norm else nn.Identity()
        self.fires = nn.ModuleDict()
        channels, pools = stem.channels, a.pools()
        if 0 in pools:
            self.fires['pool1'] = max_pool()
        for i in range(a.fires):
            squeeze, expand1x1, expand3x3 = a.fire(i)
            expand = expand1x1 + expand3x3
            self.fires[f'fire{i + 2}'] = Fire(
                channels,
                squeeze,
                expand1x1,
                expand3x3,
                a.norm,
                a.bypass == 'simple' and channels == expand,
            )
            if i + 1 in pools:
                self.fires[f'pool{i + 2}'] = max_pool()
            channels = expand
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
        nn.init.normal_(self.conv10.weight, std=0.01)

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

    Both list their layers in the network's order, so only the names differ. Raise
    ArchitectureInvalid where the weights are another network's.
    """
    own = net.state_dict()
    if [value.shape for value in own.values()] != [value.shape for value in state.values()]:
        raise ArchitectureInvalid(
            'these are not the weights of this SqueezeNet: their number or '
            'their shapes differ; choose the version that they are for'
        )
    net.load_state_dict(dict(zip(own, state.values(), strict=True)))
