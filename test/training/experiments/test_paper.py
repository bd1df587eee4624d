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
"""The paper's experiments: networks, runs that begin with another's result, and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training.experiments import paper
from training.experiments.engine import Task
from training.experiments.paper import EXPERIMENTS, begin, untrained
from training.experiments.reports import write_table

DONE = {'val/top5': 0.9, 'epochs': 3, 'parameters': 1_000_000, 'macs': 5_000_000}


def test_every_experiment_describes_a_network() -> None:
    for experiment in EXPERIMENTS:
        net = untrained(experiment, ('a', 'b')).net
        for name, value in experiment.shape.items():
            assert getattr(net.architecture, name) == value
        for value in experiment.others.values():
            if 'small' in str(value):
                assert type(net).__name__.lower() in str(value)


def test_points_have_folders_values_and_the_base_that_they_need() -> None:
    points = {point.name: point for each in EXPERIMENTS for point in each.points(6)}
    assert len(points) == sum(experiment.seeds for experiment in EXPERIMENTS)
    assert points['12-fire-modules-simple-bypass/seed1'].values == {
        'seed_everything': 1,
        'trainer.max_epochs': 6,
        'model.architecture.fires': 12,
        'model.architecture.freq': 3,
        'model.architecture.bypass': 'simple',
    }
    longer = points['squeezenet-twice-the-epochs/seed3']
    assert (longer.needs, longer.values['trainer.max_epochs']) == ('squeezenet/seed3', 12)
    assert points['sensitive-layers-widened/seed3'].needs == 'squeezenet/seed1'
    assert points['75-pct-3x3/seed1'].needs is None


def test_a_run_begins_with_the_result_that_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paper, 'widening', lambda *_: {'0.expand1x1': 1.5})
    points = {point.name: point for each in EXPERIMENTS for point in each.points(6)}

    def begun(name: str) -> dict[str, Any]:
        point: Any = points[name]
        none: Any = None
        return begin(Path('x.zip'), Task(point, point.values, tmp_path / name, True, none, none))

    assert begun('squeezenet/seed2') == {}
    base = tmp_path / 'squeezenet' / 'seed2' / 'last.ckpt'
    assert begun('dense-sparse-dense/seed2') == {'ckpt_path': str(base)}
    found = begun('sensitive-layers-widened/seed2')['model.architecture.widen']
    assert json.loads(found) == {'0.expand1x1': 1.5}


def test_the_table_has_means_ranges_and_the_times_that_are_known(tmp_path: Path) -> None:
    (tmp_path / 'times.csv').write_text('experiment,forward_ms,step_ms\nsqueezenet,1.5,2.25\n')
    rows = [{**DONE, 'trial': f'squeezenet/seed{i}', 'val/top1': 0.5 + i / 100} for i in (1, 2, 3)]
    table = write_table({EXPERIMENTS[0]: rows, EXPERIMENTS[1]: rows[:1]}, tmp_path).splitlines()
    assert table[2] == (
        '| squeezenet | 3 | 52.0 (51.0 to 53.0) | 1,000,000 | 4.00 | 5.0 | 1.50 | 2.25 '
        '| 57.5 / 80.3, 4.8 MB |'
    )
    assert table[3].startswith('| simple bypass | 3 | 51.0 | 1,000,000 | 4.00 | 5.0 |  |  | 60.4')
    assert (tmp_path / 'experiments.png').read_bytes()[1:4] == b'PNG'
    assert len((tmp_path / 'runs.csv').read_text().splitlines()) == 5
