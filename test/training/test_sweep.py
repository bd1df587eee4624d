# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sweep files: what they mean, and what is told of those that mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sqz_perception.errors import SweepInvalid
from training.sweep import Range, argument, read

GOOD = {
    'recipe': 'recipe.yaml',
    'epochs': 2,
    'space': {'model.a': [1, 2, 3], 'model.b': ['x', 'y']},
}


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    (tmp_path / 'recipe.yaml').touch()
    return tmp_path / 'sweep.yaml'


def test_a_grid_has_each_combination_once(sweep_file: Path) -> None:
    sweep_file.write_text(yaml.dump(GOOD))
    sweep = read(sweep_file)
    assert (sweep.recipe, sweep.method) == (sweep_file.with_name('recipe.yaml'), 'grid')
    assert sweep.total == 6
    points = [tuple(sweep.point(number).values()) for number in range(6)]
    assert sorted(points) == [(a, b) for a in (1, 2, 3) for b in ('x', 'y')]


def test_values_are_those_that_training_reads(sweep_file: Path) -> None:
    space = '{a: [1e-3, 2.5e-2], b: {low: 1e-4, high: 1, log: true}, c: [{f: 2}, null, true, s]}'
    sweep_file.write_text(
        f'{{recipe: recipe.yaml, epochs: 1, method: random, trials: 5, space: {space}}}'
    )
    sweep = read(sweep_file)
    assert sweep.total == 5
    assert sweep.space['a'] == (0.001, 0.025)
    assert sweep.space['b'] == Range(0.0001, 1, True)
    arguments = [argument('c', value) for value in sweep.space['c']]
    assert arguments == ['--c={"f": 2}', '--c=null', '--c=true', '--c=s']


def test_a_range_of_whole_numbers_has_whole_numbers() -> None:
    assert Range(1, 8).whole
    assert not Range(1, 8.0).whole


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'recipe': 'other.yaml'}, 'other.yaml does not exist'),
        ({'epochs': 0}, 'epochs is a whole number from 1'),
        ({'epochs': 'many'}, 'epochs is a whole number from 1'),
        ({'epochs': None}, 'epochs is a whole number from 1'),
        ({'seed': -1}, 'seed is a whole number from 0'),
        ({'prune': 'maybe'}, 'prune is true or false'),
        ({'method': 'magic'}, 'method is one of grid, tpe, random'),
        ({'method': 'tpe'}, 'tpe needs trials'),
        ({'trials': 7}, 'leave out trials'),
        ({'budget': 7}, 'there is no budget in a sweep; there are recipe, epochs'),
        ({'space': {}}, 'space is empty'),
        ({'space': None}, 'space is empty'),
        ({'space': ['model.a']}, 'space has a name and what to try'),
        ({'space': {'model.a': []}}, 'model.a needs a list of values'),
        ({'space': {'model.a': 0.5}}, 'model.a needs a list of values'),
        ({'space': {'model.a': [1, 2, 1]}}, 'model.a has a value twice'),
        ({'space': {'model.a': {'low': 1, 'high': 2}}}, 'a grid takes lists; give model.a a'),
        ({'space': {'model.a': {'low': 2, 'high': 1}}}, 'model.a: a range is'),
        ({'space': {'model.a': {'low': 0, 'high': 1, 'log': True}}}, 'model.a: a range is'),
        ({'space': {'model.a': {'low': 1}}}, 'model.a: a range is'),
        ({'space': {'model.a': {'low': 1, 'high': 'x'}}}, 'model.a: a range is'),
        ({'space': {'model.a': {'low': 1, 'high': 2, 'step': 1}}}, 'model.a: a range is'),
        ({'space': {'trainer.max_epochs': [1, 2]}}, 'trainer.max_epochs is decided by the sweep'),
    ],
)
def test_what_is_no_sweep_is_told_in_one_line(
    sweep_file: Path, change: dict[str, object], message: str
) -> None:
    sweep_file.write_text(yaml.dump({**GOOD, **change}))
    with pytest.raises(SweepInvalid) as raised:
        read(sweep_file)
    assert str(raised.value).startswith(f'{sweep_file}: ')
    assert message in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'space: [1, 2', 'is no YAML'),
        (b'PK\x03\x04\xff\xfe', 'is no YAML'),
        (b'', 'a sweep file has keys and values'),
        (b'- 1', 'a sweep file has keys and values'),
        (b'epochs: 3', 'recipe is missing'),
    ],
)
def test_what_is_no_sweep_file_is_told_in_one_line(
    sweep_file: Path, content: bytes, message: str
) -> None:
    sweep_file.write_bytes(content)
    with pytest.raises(SweepInvalid, match=message) as raised:
        read(sweep_file)
    assert '\n' not in str(raised.value)
