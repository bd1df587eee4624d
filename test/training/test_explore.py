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
"""Sweeps: trained, reported, interrupted and resumed; and the one line that refuses others."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')
pytest.importorskip('torch')

from tiny_runs import RECIPES, TINY
from training import explore
from training.experiments import sweep
from training.experiments.reports import points
from training.reporting.metrics import epochs

ROOT = Path(explore.__file__).parents[1]
RATE, RATIO = 'model.rate', 'model.architecture.squeeze_ratio'

Command = Callable[..., list[str]]


@pytest.fixture
def line(tmp_path: Path, colors: Path) -> Command:
    """Return a function that writes a sweep and returns the arguments of the command for it."""

    def write(space: Any, *more: str, **content: Any) -> list[str]:
        (tmp_path / 'recipe.yaml').touch()
        content = {'recipe': 'recipe.yaml', 'epochs': 1, 'space': space, **content}
        (tmp_path / 'sweep.yaml').write_text(yaml.dump(content, sort_keys=False))
        data = ['--data.path', str(colors), '-o', str(tmp_path / 'out')]
        return [str(tmp_path / 'sweep.yaml'), *data, *more]

    return write


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / 'out' / 'results.csv').open(newline='') as lines:
        return list(csv.DictReader(lines))


@pytest.mark.usefixtures('fake_training')
def test_a_grid_becomes_a_table_and_plots(
    line: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {RATE: [0.25, 0.5, 3], 'seed_everything': [1, 2]}
    assert explore.main(line(space, '--jobs', '2')) == 0
    shown = capsys.readouterr().out
    assert 'results.csv: 4 complete, 2 failed' in shown
    assert 'best: trial_0002, top-1 50.00 %, rate 0.5, seed_everything 1' in shown
    rows = table(tmp_path)
    assert [row[RATE] for row in rows] == ['0.25', '0.25', '0.5', '0.5', '3', '3']
    assert rows[5]['reason'] == 'the loss became infinite; lower the rate'
    for name in ('parameters.png', 'size.png'):
        assert cv2.imread(str(tmp_path / 'out' / name)) is not None
    assert explore.main(line({**space, RATE: [0.25]})) == 1
    assert 'study.db holds other settings (space: model.rate is' in capsys.readouterr().err


@pytest.mark.usefixtures('fake_training')
@pytest.mark.parametrize('method', ['tpe', 'random'])
def test_ranges_are_tried_in_a_database_of_choice(
    line: Command, tmp_path: Path, method: str
) -> None:
    space = {RATE: {'low': 0.001, 'high': 0.1, 'log': True}}
    more = ['--storage', f'sqlite:///{tmp_path}/s.db']
    assert explore.main(line(space, *more, method=method, trials=3, prune=True)) == 0
    rates = {row[RATE] for row in table(tmp_path)}
    assert len(rates) == 3
    assert all(0.001 <= float(rate) <= 0.1 for rate in rates)
    assert not (tmp_path / 'out' / 'study.db').exists()


@pytest.mark.usefixtures('fake_training')
@pytest.mark.parametrize(
    ('space', 'more', 'message'),
    [
        ({'model.rat': [0.5]}, (), 'unrecognized arguments: --model.rat'),
        ({RATE: [0.5]}, ('--data.path', '/nowhere.zip'), '/nowhere.zip does not exist'),
        ({RATE: [0.5]}, ('--model.nonsense=1',), 'unrecognized arguments: --model.nonsense'),
        ({RATE: [0.5]}, ('--storage', 'sqlite:////nowhere/x.db'), 'x.db can not be used'),
        ({}, (), 'space is empty'),
        ({RATE: [2, 3]}, (), 'all 2 trials failed, the first: the loss became infinite'),
    ],
)
def test_what_can_not_be_explored_is_refused_in_one_line(
    line: Command,
    capsys: pytest.CaptureFixture[str],
    space: Any,
    more: tuple[str, ...],
    message: str,
) -> None:
    assert explore.main(line(space, *more)) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert message in error
    assert error.count('\n') == 1


@pytest.mark.usefixtures('fake_training')
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(line: Command, tmp_path: Path) -> None:
    arguments, last = line({RATE: [0.5]}, epochs=10_000), tmp_path / 'out/trial_0000/last.ckpt'
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with (tmp_path / 'error').open('w') as sys.stderr:
            code = explore.main(arguments)
        os._exit(code)
    while not last.exists():
        time.sleep(0.02)
    os.kill(child, signal.SIGINT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    said = (tmp_path / 'error').read_text()
    assert said == 'interrupted; give the same command again to continue\n'
    assert explore.main(line({RATE: [0.5]})) == 0
    assert last.read_text() == str(last)  # it went on from its own checkpoint
    (tmp_path / 'out' / 'study.db').unlink()
    assert explore.main(line({RATE: [0.5]})) == 0
    assert not last.read_text()  # another study begins anew


def test_a_real_training_is_measured(line: Command, tmp_path: Path) -> None:
    options = [f'--{name}={value}' for name, value in TINY.items()]
    shutil.copy(RECIPES / 'cifar10.yaml', tmp_path / 'beside.yaml')
    arguments = line({RATIO: [0.5]}, *options, '--threads', '1', recipe='beside.yaml')
    assert explore.main(arguments) == 0
    (row,) = table(tmp_path)
    (epoch,) = epochs(tmp_path / 'out' / 'trial_0000' / 'metrics.csv')
    assert float(row['val/top1']) == pytest.approx(epoch['val/top1'], abs=1e-6)
    assert (row['state'], row['parameters'], row['epochs']) == ('complete', '2955', '1')


def test_seeds_are_one_point_with_their_range() -> None:
    rows = [
        {'a': a, 'seed_everything': i, 'val/top1': top1, 'parameters': 9}
        for i, (a, top1) in enumerate([(1, 0.5), (1, 0.7), (2, 0.6)])
    ]
    one, two = points(rows, ['a', 'seed_everything'])
    assert (one.label, one.size) == ('a 1', 9)
    assert (one.accuracy, one.spread) == pytest.approx((60, 10))
    assert (two.label, two.spread) == ('a 2', 0)


def test_help_shows_examples_and_the_example_is_a_sweep(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        explore.main(['--help'])
    assert 'training/recipes/sweep.yaml --data.path' in capsys.readouterr().out
    assert len(sweep.read(ROOT / 'training' / 'recipes' / 'sweep.yaml').points()) == 9
