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
"""Sweep files: what they mean, and the one line that refuses what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')

from training.errors import SweepInvalid
from training.experiments.runs import argument
from training.experiments.sweep import read

GOOD = {
    'recipe': 'recipe.yaml',
    'epochs': 2,
    'space': {'model.a': [1, 2, 3], 'model.b': ['x', None]},
}
RANGES = '{a: {low: 1e-4, high: 1, log: true}, b: {low: 1, high: 8}, c: [{f: 2}, 1e-3, true, s]}'


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    (tmp_path / 'recipe.yaml').touch()
    return tmp_path / 'sweep.yaml'


def test_a_grid_has_each_combination_once(sweep_file: Path) -> None:
    sweep_file.write_text(yaml.dump(GOOD))
    sweep = read(sweep_file)
    assert Path(sweep.recipe).samefile(sweep_file.with_name('recipe.yaml'))
    points = sweep.points()
    assert [point.name for point in points] == [f'trial_000{i}' for i in range(6)]
    values = [tuple(point.values.values()) for point in points]
    assert values == [(a, b) for a in (1, 2, 3) for b in ('x', None)]


def test_random_values_follow_the_seed_and_more_can_be_added(sweep_file: Path) -> None:
    line = '{{recipe: recipe.yaml, epochs: 1, method: random, trials: {}, space: {}}}'
    sweep_file.write_text(line.format(5, RANGES))
    points = read(sweep_file).points()
    assert len({point.values['a'] for point in points}) == 5
    assert all(1e-4 <= point.values['a'] <= 1 for point in points)
    assert all(point.values['b'] in range(1, 9) for point in points)
    assert read(sweep_file).tried()['c'].choices == ('{"f": 2}', 0.001, True, 's')
    sweep_file.write_text(line.format(7, RANGES))
    assert read(sweep_file).points()[:5] == points
    assert [argument('c', value) for value in ('{"f": 2}', None, True, 's')] == [
        '--c={"f": 2}', '--c=null', '--c=true', '--c=s',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'recipe': 'other.yaml'}, 'other.yaml'),
        ({'epochs': 0}, '"epochs": Not of type PositiveInt'),
        ({'seed': -1}, '"seed": Not of type NonNegativeInt'),
        ({'prune': 'maybe'}, '"prune": Expected a <class \'bool\'>. Got value: maybe'),
        ({'method': 'magic'}, 'Got value: magic'),
        ({'method': 'tpe'}, 'tpe and random need trials'),
        ({'trials': 7}, 'a grid has none'),
        ({'budget': 7}, "'budget' is not accepted"),
        ({'space': {}}, 'space is empty'),
        ({'space': ['model.a']}, '"space": Expected a <class \'dict\'>'),
        ({'space': {'model.a': []}}, 'model.a needs a list of different values'),
        ({'space': {'model.a': [1, 2, 1]}}, 'model.a needs a list of different values'),
        ({'space': {'model.a': {'low': 1, 'high': 2}}}, 'a grid takes lists; give model.a one'),
        ({'space': {'model.a': {'low': 2, 'high': 1}}}, 'or a range such as'),
        ({'space': {'model.a': {'low': 0, 'high': 1, 'log': True}}}, 'or a range such as'),
        ({'space': {'model.a': {'low': 1}}}, 'or a range such as'),
        ({'space': {'model.a': {'low': 1, 'high': 'x'}}}, 'or a range such as'),
        ({'space': {'model.a': {'low': 1, 'high': float('inf')}}}, 'or a range such as'),
        ({'space': {'model.a': {'low': 1, 'high': 2, 'size': 1}}}, 'or a range such as'),
        ({'space': {'trainer.max_epochs': [1, 2]}}, 'trainer.max_epochs can not be varied'),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(
    sweep_file: Path, change: dict[str, object], message: str
) -> None:
    sweep_file.write_text(yaml.dump({**GOOD, **change}))
    with pytest.raises(SweepInvalid) as raised:
        read(sweep_file)
    assert str(raised.value).startswith(f'{sweep_file}: ')
    assert message in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    'content', [b'space: [1, 2', b'PK\3\4\xff\xfe', b'', b'- 1', b'epochs: 3']
)
def test_what_is_no_sweep_file_is_refused_in_one_line(sweep_file: Path, content: bytes) -> None:
    sweep_file.write_bytes(content)
    with pytest.raises(SweepInvalid, match='sweep.yaml: ') as raised:
        read(sweep_file)
    assert '\n' not in str(raised.value)
    with pytest.raises(SweepInvalid, match='nothing.yaml: File does not exist'):
        read(sweep_file.with_name('nothing.yaml'))
