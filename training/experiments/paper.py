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
The SqueezeNet paper's experiments at the scale of 32x32 pictures.

Each differs in one thing from ``squeezenet``: the paper's v1.0 with its first layer and its pools
reduced for 32x32 pixels and with batch norm. All have the recipe recipes/experiments.yaml. The
paper's figures are of ImageNet: arXiv 1602.07360, tables 2 and 3, figure 3; widening and
dense-sparse-dense are in its first versions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from training.experiments.engine import Point, Task, Value
from training.experiments.runs import LAST
from training.experiments.sensitivity import scan, validation, widened, widenings
from training.fitting.learner import Learner, load
from training.networks.architecture import Architecture

RECIPE = Path(__file__).parents[1] / 'recipes' / 'experiments.yaml'
BASE = 'squeezenet'
DENSITY = 0.5  # of the sensitivity scan, the paper's
WIDENED = 3  # layers at most
SHAPE = 'model.architecture.'
DSD: dict[str, Value] = {
    'trainer.callbacks+': 'training.fitting.dense_sparse_dense.DenseSparseDenseCallback',
    'trainer.callbacks.sparse_from': 0.0,
}


@dataclass(frozen=True, eq=False)
class Experiment:
    """One row of the table."""

    group: str
    name: str
    shape: Mapping[str, Value] = field(default_factory=dict)  # the architecture's changes
    paper: str = ''  # its result: top-1 / top-5 in percent, size in fp32
    seeds: int = 1
    others: Mapping[str, Value] = field(default_factory=dict)  # changes of the recipe
    longer: int = 1  # times the recipe's epochs; above 1 it goes on from the base's last epoch
    wide: bool = False  # the expand layers that the base's sensitivity scan finds are widened

    def points(self, epochs: int) -> list[Point]:
        """Return a point for each seed; ``epochs`` are those of the recipe."""
        folder = self.name.replace(' ', '-').replace(',', '').replace('%', 'pct')
        shape = {f'{SHAPE}{name}': value for name, value in self.shape.items()}
        found = []
        for seed in range(1, self.seeds + 1):
            own = {'seed_everything': seed, 'trainer.max_epochs': epochs * self.longer}
            needs = f'{BASE}/seed{1 if self.wide else seed}'  # one scan decides for all seeds
            needed = self.wide or self.longer > 1
            values = {**own, **shape, **self.others}
            found.append(Point(f'{folder}/seed{seed}', values, needs if needed else None))
        return found


def _depth(fires: int, bypass: str = 'none') -> Experiment:
    """Return another number of fire modules, the filters growing over them as in v1.0."""
    name = f'{fires} fire modules' + ('' if bypass == 'none' else f', {bypass} bypass')
    return Experiment('depth', name, {'fires': fires, 'freq': fires // 4, 'bypass': bypass})


def _ratio(ratio: float, paper: str = '') -> Experiment:
    return Experiment('squeeze ratio', f'squeeze ratio {ratio}', {'squeeze_ratio': ratio}, paper)


def _share(share: float) -> Experiment:
    """Return another share of 3x3 filters than that of 'squeeze ratio 0.5', a half."""
    shape = {'squeeze_ratio': 0.5, 'pct_3x3': share}
    return Experiment('3x3 filters', f'{100 * share:g} % 3x3', shape)


EXPERIMENTS = (
    Experiment('squeezenet', BASE, {}, '57.5 / 80.3, 4.8 MB', 3),
    Experiment('bypass', 'simple bypass', {'bypass': 'simple'}, '60.4 / 82.5, 4.8 MB', 3),
    Experiment('bypass', 'complex bypass', {'bypass': 'complex'}, '58.8 / 82.0, 7.7 MB', 3),
    _ratio(0.25),
    _ratio(0.5, '- / 85.3 to 85.6, 13 MB'),
    _ratio(0.75, '- / 86.0, 19 MB'),
    _ratio(1.0, '- / 86.0'),
    *map(_share, (0.01, 0.125, 0.25, 0.75, 0.99)),
    *map(_depth, (4, 12, 16, 24)),
    *(_depth(fires, 'simple') for fires in (12, 16, 24)),  # of 4, no two have as many filters
    Experiment('sensitivity', 'sensitive layers widened', seeds=3, wide=True),
    Experiment('dense-sparse-dense', 'squeezenet, twice the epochs', seeds=3, longer=2),
    Experiment('dense-sparse-dense', 'dense-sparse-dense', {}, '+4.3 / +3.2', 3, DSD, longer=2),
    Experiment('baselines', 'resnet50', others={'model.baseline': 'resnet50_small'}),
    Experiment('baselines', 'alexnet', {}, '57.2 / 80.3, 240 MB', 1,
               {'model.baseline': 'alexnet_small'}),
)  # fmt: skip


def recipe_epochs() -> int:
    """Return how many epochs the recipe has."""
    return int(yaml.safe_load(RECIPE.read_text(encoding='utf-8'))['trainer']['max_epochs'])


def begin(data: Path, task: Task) -> dict[str, Value]:
    """Return the values that a run gets from the result of the one that it needs."""
    if not task.point.needs:
        return {}
    checkpoint = task.folder.parents[1] / task.point.needs / LAST
    if task.point.name.startswith('sensitive'):
        return {f'{SHAPE}widen': json.dumps(widening(checkpoint, data))}
    return {'ckpt_path': str(checkpoint)}


def widening(checkpoint: Path, data: Path) -> dict[str, float]:
    """Return which expand layers to widen, by a scan of ``checkpoint`` on the validation data."""
    learner = load(str(checkpoint))
    architecture = learner.net.architecture
    found = scan(learner, validation(learner, str(data)), [DENSITY])
    rows = widenings(found, DENSITY, architecture)[:WIDENED]
    return widened(architecture, [row.layer for row in rows])


def untrained(experiment: Experiment, labels: tuple[str, ...]) -> Learner:
    """Return the network of an experiment as it is before the first step."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding='utf-8'))
    architecture = Architecture(**{**recipe['model']['architecture'], **experiment.shape})
    baseline: Any = experiment.others.get('model.baseline')
    size = recipe['data']['size']
    return Learner(labels, size, architecture=architecture, baseline=baseline)
