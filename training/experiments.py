# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The SqueezeNet paper's experiments at the scale of 32x32 pictures: which there are.

Each differs in one thing from ``squeezenet``, the paper's v1.0 with its first layer and its
pools cut to 32x32 pixels and with batch norm; all have the recipe of recipes/experiments.yaml.
``training.reproduce`` runs them. What the paper found is on ImageNet: arXiv 1602.07360, tables 2
and 3, figure 3; the widening and dense-sparse-dense are of its first versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SEEDS = (1, 2, 3)

Changes = Mapping[str, object]


@dataclass(frozen=True)
class Experiment:
    """One row of the table."""

    name: str
    group: str
    changes: Changes = field(default_factory=dict)  # values of the recipe by their dotted names
    seeds: tuple[int, ...] = SEEDS[:1]
    longer: int = 1  # times the recipe's epochs; what is above 1 goes on from BASE's end
    wide: bool = False  # the expand layers that BASE's sensitivity scan finds are widened
    paper: str = ''  # what the paper found: top-1 / top-5 in percent, size in fp32


BASE = Experiment('squeezenet', 'squeezenet', seeds=SEEDS, paper='57.5 / 80.3, 4.8 MB')


def every() -> list[Experiment]:
    """Return all experiments in the order of the table; the last are the slowest."""
    return [
        BASE,
        *_bypasses(),
        *_squeeze_ratios(),
        *_shares_of_3x3(),
        *_depths(),
        Experiment('sensitive layers widened', 'sensitivity', seeds=SEEDS, wide=True),
        Experiment('squeezenet, twice the epochs', 'dense-sparse-dense', seeds=SEEDS, longer=2),
        Experiment(
            'dense-sparse-dense', 'dense-sparse-dense', DSD, SEEDS, longer=2,
            paper='+4.3 / +3.2',
        ),
        Experiment('resnet50', 'baselines', {'model.baseline': 'resnet50_small'}),
        Experiment(
            'alexnet', 'baselines', {'model.baseline': 'alexnet_small'},
            paper='57.2 / 80.3, 240 MB',
        ),
    ]  # fmt: skip


DSD: Changes = {
    'trainer.callbacks+': 'training.dense_sparse_dense.DenseSparseDenseCallback',
    'trainer.callbacks.sparse_from': 0.0,
}


def _bypasses() -> list[Experiment]:
    found = {'simple': '60.4 / 82.5, 4.8 MB', 'complex': '58.8 / 82.0, 7.7 MB'}
    return [
        Experiment(f'{kind} bypass', 'bypass', _shape(bypass=kind), SEEDS, paper=paper)
        for kind, paper in found.items()
    ]


def _squeeze_ratios() -> list[Experiment]:
    found = {0.25: '', 0.5: '- / 85.3 to 85.6, 13 MB', 0.75: '- / 86.0, 19 MB', 1.0: '- / 86.0'}
    return [
        Experiment(
            f'squeeze ratio {ratio}', 'squeeze ratio', _shape(squeeze_ratio=ratio), paper=paper
        )
        for ratio, paper in found.items()
    ]


def _shares_of_3x3() -> list[Experiment]:
    """Return the rows beside 'squeeze ratio 0.5', whose share is a half."""
    return [
        Experiment(
            f'{100 * share:g} % 3x3', '3x3 filters', _shape(squeeze_ratio=0.5, pct_3x3=share)
        )
        for share in (0.01, 0.125, 0.25, 0.75, 0.99)
    ]


def _depths() -> list[Experiment]:
    """
    Return other numbers of fire modules, the filters growing over them as in v1.0.

    Of four, no two have as many filters, which a simple bypass needs.
    """
    counts = {'none': (4, 12, 16, 24), 'simple': (12, 16, 24)}
    shapes = [(fires, bypass) for bypass, each in counts.items() for fires in each]
    return [
        Experiment(
            f'{fires} fire modules' + (', simple bypass' if bypass == 'simple' else ''),
            'depth',
            _shape(fires=fires, freq=fires // 4, bypass=bypass),
        )
        for fires, bypass in shapes
    ]


def _shape(**values: object) -> dict[str, object]:
    """Return metaparameters under the names that the recipe has for them."""
    return {f'model.architecture.{name}': value for name, value in values.items()}
