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
"""The paper's experiments are run once each and become a table; what can't is one line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

pytest.importorskip('optuna', reason='studies need optuna, which make test installs')
pytest.importorskip('torch')

from training import reproduce
from training.experiments import paper, timing
from training.experiments.paper import EXPERIMENTS, Experiment

BASE = 'squeezenet'


@pytest.fixture
def line(colors: Path, tmp_path: Path) -> list[str]:
    return [str(colors), '-o', str(tmp_path / 'runs'), '--epochs', '1']


@pytest.mark.usefixtures('fake_training')
def test_runs_are_done_once_and_become_a_table(
    line: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(paper, 'widening', lambda *_: {'0.expand1x1': 1.5})
    assert reproduce.main([*line, '--table']) == 1
    assert 'is done; leave out --table' in capsys.readouterr().err
    some = ['--only', 'sensitivity', 'dense-sparse-dense', '75 % 3x3', '--seeds', '2']
    assert reproduce.main([*line, *some, '--list']) == 0
    listed = [row.split() for row in capsys.readouterr().out.splitlines()]
    runs = tmp_path / 'runs'
    assert listed[:2] == [['waiting', str(runs / BASE / f'seed{seed}')] for seed in (1, 2)]
    assert ['waiting', str(runs / '75-pct-3x3' / 'seed1')] in listed
    assert len(listed) == 9
    assert reproduce.main([*line, *some, '--jobs', '2']) == 0
    table = capsys.readouterr().out.split('| experiment ')[1]
    assert '| squeezenet | 1 | 10.0 (10.0 to 10.0) |' in table
    assert '| dense-sparse-dense | 2 | 10.0 (10.0 to 10.0) |' in table
    base = runs / BASE / 'seed2' / 'last.ckpt'
    assert (runs / 'dense-sparse-dense' / 'seed2' / 'last.ckpt').read_text() == str(base)
    assert reproduce.main([*line, '--only', BASE, '--seeds', '1']) == 0
    assert 'begins' not in (again := capsys.readouterr().out)
    assert again.split('| experiment ')[1] == table  # of all that is done
    assert reproduce.main([*line[:-1], '3']) == 1
    assert 'holds other settings (epochs is 1 there and 3 here)' in capsys.readouterr().err


@pytest.mark.usefixtures('fake_training')
def test_what_can_not_be_trained_leaves_the_others_alone(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Experiment('bypass', 'wrong', others={'model.rate': 3})
    monkeypatch.setattr(reproduce, 'EXPERIMENTS', (wrong, EXPERIMENTS[0]))
    assert reproduce.main([*line, '--seeds', '1']) == 1
    printed = capsys.readouterr()
    assert '1 of 2 runs are not done, the first: ' in printed.err
    assert 'wrong/seed1: the loss became infinite' in printed.err
    assert f'| {BASE} | 1 |' in printed.out


def test_networks_are_timed_without_training(
    line: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in {'FORWARD_ROUNDS': 1, 'STEP_ROUNDS': 1, 'STEPS': 1, 'PICTURES': 4}.items():
        monkeypatch.setattr(timing, name, value)
    rows = [BASE, '4 fire modules', 'dense-sparse-dense']
    assert reproduce.main([*line, '--times', '--only', *rows]) == 0
    with (tmp_path / 'runs' / 'times.csv').open(newline='') as file:
        found = list(csv.DictReader(file))
    assert [row['experiment'] for row in found] == rows[:2]
    assert all(float(row[key]) > 0 for row in found for key in ('forward_ms', 'step_ms'))
    assert capsys.readouterr().out.splitlines()[2].startswith('4 fire modules')
    assert reproduce.main([*line, '--times', '--only', 'sensitivity']) == 1
    assert 'choose others' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--jobs', '0'], '0 is less than 1'),
        (['--epochs', '0'], '0 is less than 1'),
        (['--only', '76 % 3x3'], "invalid choice: '76 % 3x3'"),
        (['--storge', 'postgresql://me:hunter2@host/x'], '--storge postgresql://me:***@host/x'),
    ],
)
def test_a_bad_option_is_refused(
    line: list[str], more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        reproduce.main([*line, *more])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_no_data_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main([str(tmp_path / 'none.zip'), '-o', str(tmp_path / 'runs')]) == 1
    assert 'does not exist' in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()
