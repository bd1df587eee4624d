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
The SqueezeNet family in numbers: the metaparameters that decide a network's shape.

A network is a stem, ``fires`` fire modules and a 1x1 convolution averaged over the picture. A
fire module squeezes with 1x1 filters and expands with a mix of 1x1 and 3x3 filters. Module i
(counted from 0, named fire2, fire3, ... as in the paper) has

    e_i   = base_e + incr_e * floor(i / freq)    expand filters
    e3x3  = pct_3x3 * e_i                        of them 3x3, the others 1x1
    s_i   = squeeze_ratio * e_i                  squeeze filters

Source: Iandola et al., SqueezeNet, arXiv 1602.07360, section 5 (metaparameters), section 6
(bypass). Batch norm and the stem for 32x32 pictures are additions of this project. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from training.errors import ArchitectureInvalid


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
    # Ours, for CIFAR-size pictures: halved late, the paper's third strategy, once in each third.
    'small': Stem(32, 24, 3, 1, 1, (1 / 6, 1 / 2, 5 / 6), False),
    'tiny': Stem(32, 96, 3, 2, 1, (0, 3 / 8, 7 / 8), False),  # v1.0's halvings on small pictures
}
BYPASSES = ('none', 'simple', 'complex')
EXPANDS = ('expand1x1', 'expand3x3')


@dataclass(frozen=True)
class Architecture:
    """
    All that decides a network's shape; the defaults are SqueezeNet v1.0.

    :param base_e: Expand filters of the first fire module.
    :param incr_e: Expand filters added every ``freq`` fire modules.
    :param freq: Fire modules between two increases.
    :param pct_3x3: Share of the expand filters that are 3x3, the others being 1x1.
    :param squeeze_ratio: Squeeze filters to expand filters.
    :param fires: Number of fire modules.
    :param bypass: 'none'; 'simple': add a module's input to its output where they fit; 'complex':
        where they do not fit, through a 1x1 convolution that makes them.
    :param add_first: Add before the ReLU and not after it as in the paper. With ``norm`` it is
        always so: sums of rectified outputs only grow, and a norm does not hold them back.
    :param stem: 'v1.0', 'v1.1', and 'small' or 'tiny' for 32x32 pictures: first layer and pools.
    :param norm: Batch norm after every convolution but the last.
    :param classes: Number of classes.
    :param dropout: Share dropped before the last convolution, in training only.
    :param pools: Max pools after this share of the fire modules; 0: after conv1. Default: the
        stem's.
    :param widen: Expand layers with more filters than the others, such as ``{fire2.expand3x3:
        1.5}``.
    """

    base_e: int = 128
    incr_e: int = 128
    freq: int = 2
    pct_3x3: float = 0.5
    squeeze_ratio: float = 0.125
    fires: int = 8
    bypass: str = 'none'
    add_first: bool = False
    stem: str = 'v1.0'
    norm: bool = False
    classes: int = 1000
    dropout: float = 0.5
    pools: tuple[float, ...] | None = None
    widen: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse, in one line, what describes no network."""
        least = min(self.base_e, self.freq, self.fires, self.classes)
        known = [f'{name}.{half}' for name in self.names() for half in EXPANDS]
        unknown = sorted(set(self.widen) - set(known))
        checks = {
            'base_e, freq, fires and classes must be at least 1': least >= 1,
            'incr_e must not be negative': self.incr_e >= 0,
            'pct_3x3 must be between 0 and 1, both excluded': 0 < self.pct_3x3 < 1,
            'squeeze_ratio must be above 0 and at most 1': 0 < self.squeeze_ratio <= 1,
            'dropout must be at least 0 and below 1': 0 <= self.dropout < 1,
            f'stem must be one of {", ".join(STEMS)}': self.stem in STEMS,
            f'bypass must be one of {", ".join(BYPASSES)}': self.bypass in BYPASSES,
            f'widen: there is no expand layer {"".join(unknown[:1])}; the first is '
            f'{"".join(known[:1])}, the last {"".join(known[-1:])}': not unknown,
            'pools must be shares from 0, after conv1, to 1, after the last fire module': all(
                0 <= share <= 1 for share in self.pools or ()
            ),
            'widen: a factor is above 0': all(factor > 0 for factor in self.widen.values()),
        }
        for message, holds in checks.items():
            if not holds:
                raise ArchitectureInvalid(message)

    def names(self) -> list[str]:
        """Return the fire modules' names, as in the paper."""
        return [f'fire{i + 2}' for i in range(self.fires)]

    def fire(self, i: int) -> tuple[int, int, int]:
        """Squeeze, 1x1 and 3x3 filters of fire module i, each at least one."""
        expand = self.base_e + self.incr_e * (i // self.freq)
        expand3x3 = min(max(1, round(self.pct_3x3 * expand)), expand - 1)
        return (
            max(1, round(self.squeeze_ratio * expand)),
            self._widened(i, 'expand1x1', expand - expand3x3),
            self._widened(i, 'expand3x3', expand3x3),
        )

    def halvings(self) -> set[int]:
        """Numbers of fire modules after which a max pool follows; 0 is after conv1."""
        shares = STEMS[self.stem].pools if self.pools is None else self.pools
        return {round(share * self.fires) for share in shares}

    @property
    def size(self) -> int:
        """Height and width of the input, pixels."""
        return STEMS[self.stem].size

    def _widened(self, i: int, half: str, filters: int) -> int:
        return max(1, round(self.widen.get(f'fire{i + 2}.{half}', 1.0) * filters))


PRESETS = {
    'squeezenet1_0': Architecture(),
    'squeezenet1_1': Architecture(stem='v1.1'),
    'squeezenet_small': Architecture(
        base_e=64,
        incr_e=64,
        pct_3x3=0.75,
        squeeze_ratio=0.5,
        fires=6,
        bypass='simple',
        stem='small',
        norm=True,
        classes=10,
        dropout=0.0,
    ),
}
# As many parameters in twice the modules, and halved twice only: over twice the multiply-adds.
PRESETS['squeezenet_small_deep'] = replace(
    PRESETS['squeezenet_small'], incr_e=32, freq=4, fires=12, pools=(0.333, 0.667)
)
