# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The experiments: which there are, and that they are run once, go on, and become a table."""

from __future__ import annotations

import csv
import fcntl
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='training needs torch, which make test installs')

from sqz_perception.errors import TrainingError
from training import reproduce, timing
from training.experiments import BASE, Experiment, every
from training.report import COLUMNS, markdown, summarise
from training.run import Run, untrained

SHAPE = 'model.architecture.'
ROOT = Path(reproduce.__file__).resolve().parents[1]
PATIENCE = 600  # seconds, on the slowest of machines


@pytest.fixture
def timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time each network a few times only, with few pictures: how long it takes is not tested."""
    for name, value in {'FORWARD_ROUNDS': 1, 'STEP_ROUNDS': 1, 'STEPS': 1, 'PICTURES': 4}.items():
        monkeypatch.setattr(timing, name, value)


def test_every_experiment_describes_a_network() -> None:
    for experiment in every():
        net = untrained(experiment, ('a', 'b')).net
        for name, value in experiment.changes.items():
            if name.startswith(SHAPE):
                assert getattr(net.architecture, name.removeprefix(SHAPE)) == value
            if name == 'model.baseline':
                assert type(net).__name__.lower() in value


def test_names_and_folders_are_different(tmp_path: Path) -> None:
    runs = [Run(experiment, 1, tmp_path, 1) for experiment in every()]
    assert len({run.folder for run in runs}) == len(runs)
    assert runs[0].experiment == BASE


def test_those_that_go_on_begin_where_the_base_ended(tmp_path: Path) -> None:
    longer = Run(Experiment('longer', 'x', longer=2), 3, tmp_path, 5)
    base = longer.needs
    assert base is not None
    assert (base.experiment, base.seed) == (BASE, 3)
    for run in (base, longer):  # its own checkpoint comes first
        run.folder.mkdir(parents=True)
        run.checkpoint.touch()
        line = longer.arguments(Path('x.zip'))
        assert f'--ckpt_path={run.checkpoint}' in line
        assert '--trainer.max_epochs=10' in line
        assert '--seed_everything=3' in line


@pytest.mark.usefixtures('timed_once')
def test_runs_are_done_once_and_become_a_table(
    colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """What can't be trained leaves the others alone and is told at the end."""
    wrong = Experiment('wrong', 'bypass', {'model.optimizer': 'none'})
    others = [each for each in every() if each.wide or each.name == 'dense-sparse-dense']
    chosen = [replace(each, seeds=(1,)) for each in (every()[0], *others)] + [wrong]
    monkeypatch.setattr(reproduce, 'every', lambda: chosen)
    line = [str(colors), '-o', str(tmp_path / 'runs'), '--epochs', '1', '--threads', '1']
    assert reproduce.main(line) == 1
    printed = capsys.readouterr()
    assert '1 of 4 runs failed' in printed.err
    assert re.search('wrong/seed1: training.train said: .*none', printed.err)
    assert f'| {BASE.name} | 1 |' in printed.out

    with (tmp_path / 'runs' / 'runs.csv').open(newline='') as file:
        rows = {row['experiment']: row for row in csv.DictReader(file)}
    assert list(rows) == [BASE.name, 'sensitive layers widened', 'dense-sparse-dense']
    base, _, longer = rows.values()
    assert all(0 <= float(row['top1']) <= 100 < float(row['macs']) for row in rows.values())
    assert all(float(row[key]) > 0 for row in rows.values() for key in ('forward_ms', 'step_ms'))
    assert int(base['parameters']) == int(longer['parameters'])
    assert [row['epochs'] for row in rows.values()] == ['1', '1', '2']

    def timed(*_: object) -> None:
        raise AssertionError('timed again')

    monkeypatch.setattr(reproduce, 'times', timed)
    results = sorted((tmp_path / 'runs').rglob('result.json'))
    written = [result.stat().st_mtime_ns for result in results]
    chosen.remove(wrong)
    assert reproduce.main([*line, '--list']) == 0
    assert capsys.readouterr().out.count('done  ') == 3
    assert reproduce.main([*line, '--table']) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f'| {COLUMNS[0]} |')
    assert reproduce.main([*line, '--only', BASE.name]) == 0
    assert capsys.readouterr().out == printed.out  # of all that is done
    assert reproduce.main(line) == 0
    assert [result.stat().st_mtime_ns for result in results] == written
    capsys.readouterr()
    assert reproduce.main([*line, '--epochs', '3']) == 1
    assert 'holds a run of 1 epochs, not 3; choose another folder' in capsys.readouterr().err


TABLE = b'experiment,forward_ms,step_ms\na,0.5,1.5\nb,0.25,1.0\n'


@pytest.mark.parametrize(
    ('content', 'found'),
    [
        (TABLE, {'a': {'forward_ms': 0.5, 'step_ms': 1.5}}),
        (None, {}),
        (b'', {}),
        (b'experiment,top1\na,50\n', {}),
        (TABLE[:-18], {}),
        (TABLE.replace(b'0.5', b'fast'), {}),
        (b'\xff' + TABLE, {}),
        (b'\0,\0\n\0,\0', {}),
    ],
)
def test_times_are_kept_where_an_earlier_table_has_them(
    content: bytes | None, found: dict[str, Any], tmp_path: Path
) -> None:
    table = tmp_path / 'runs.csv'
    if content is not None:
        table.write_bytes(content)
    assert reproduce.times_of_before(table, {'a', 'c'}) == found


@pytest.mark.parametrize('option', ['--jobs', '--seeds', '--epochs'])
def test_less_than_one_of_what_is_counted_is_refused(
    option: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_:
        reproduce.main(['x.zip', option, '0'])
    assert exit_.value.code == 2
    assert '0 is less than 1' in capsys.readouterr().err


def test_the_base_that_others_begin_with_is_run_too(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    line = [str(colors), '-o', str(tmp_path), '--seeds', '2', '--list', '--only']
    assert reproduce.main([*line, 'dense-sparse-dense']) == 0
    listed = capsys.readouterr().out.split()[1::2]
    assert listed[:2] == [str(tmp_path / BASE.name / f'seed{seed}') for seed in (1, 2)]
    assert len(listed) == 6
    assert reproduce.main([*line, 'sensitivity']) == 0
    assert capsys.readouterr().out.split()[1] == str(tmp_path / BASE.name / 'seed1')


@pytest.mark.usefixtures('timed_once')
def test_networks_are_timed_without_training(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    line = [str(colors), '-o', str(tmp_path / 'runs'), '--times', '--only']
    assert reproduce.main([*line, BASE.name, '4 fire modules', 'dense-sparse-dense']) == 0
    with (tmp_path / 'runs' / 'times.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['experiment'] for row in rows] == [BASE.name, '4 fire modules']
    assert all(float(row[key]) > 0 for row in rows for key in ('forward_ms', 'step_ms'))
    assert capsys.readouterr().out.splitlines()[2].startswith('4 fire modules')
    assert reproduce.main([*line, 'sensitivity']) == 1
    assert 'choose others with --only' in capsys.readouterr().err


def test_single_rows_are_run_by_name(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    line = [str(colors), '-o', str(tmp_path), '--list', '--only', '75 % 3x3', 'depth']
    assert reproduce.main(line) == 0
    listed = capsys.readouterr().out
    assert listed.count(f'{tmp_path}/75-pct-3x3/seed1') == 1
    assert listed.count('fire-modules') == 7
    assert len(listed.splitlines()) == 8
    with pytest.raises(SystemExit):
        reproduce.main([*line, '76 % 3x3'])
    assert "invalid choice: '76 % 3x3'" in capsys.readouterr().err


@pytest.mark.parametrize('change', [{'longer': 2}, {'wide': True}])
def test_what_begins_with_the_base_does_not_begin_without(
    colors: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    run = Run(Experiment('later', 'x', **change), 1, tmp_path, 1)
    with pytest.raises(TrainingError, match='begins with .*seed1, which is not done'):
        run.carry_out(colors, 1)
    assert not run.folder.exists()


def test_a_run_that_is_being_trained_is_left_alone(colors: Path, tmp_path: Path) -> None:
    """By a training that outlived the command that began it, too: its output has the lock."""
    run = Run(BASE, 1, tmp_path, 1)
    run.folder.mkdir(parents=True)
    with (run.folder / 'log.txt').open('a') as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        child = subprocess.Popen(['sleep', '60'], stdout=output)
    try:
        with pytest.raises(TrainingError, match='seed1 is being trained by another process'):
            run.carry_out(colors, 1)
    finally:
        child.kill()
        child.wait()
    assert not run.done


def test_ended_by_sigterm_it_ends_its_training_and_can_go_on(colors: Path, tmp_path: Path) -> None:
    line = [str(colors), '-o', str(tmp_path), '--only', BASE.name]
    few = ['--seeds', '1', '--threads', '1', '--epochs', '10000']
    process = subprocess.Popen(
        [sys.executable, '-m', 'training.reproduce', *line, *few],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    run = Run(BASE, 1, tmp_path, 10_000)
    while not run.checkpoint.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.terminate()
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert 'Traceback' not in error
    with (run.folder / 'log.txt').open('a') as output:
        fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no training holds it
    assert not run.done
    assert f'--ckpt_path={run.checkpoint}' in run.arguments(colors)


def test_a_table_of_nothing_is_refused(
    colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert reproduce.main([str(colors), '-o', str(tmp_path), '--table']) == 1
    assert 'is done; leave out --table' in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_what_is_no_data_is_refused_before_the_first_run(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert reproduce.main([str(tmp_path / 'none.zip'), '-o', str(tmp_path / 'runs')]) == 1
    assert 'does not exist' in capsys.readouterr().err
    assert not (tmp_path / 'runs').exists()


def test_the_table_tells_means_and_spread() -> None:
    same = {
        'group': 'g', 'epochs': 3, 'top5': 90.0, 'parameters': 1_000_000, 'bytes': 4_000_000,
        'macs': 5_000_000, 'step_ms': 2.25, 'forward_ms': 1.5,
    }  # fmt: skip
    rows = [{**same, 'experiment': 'a', 'seed': i, 'top1': 50.0 + i} for i in (1, 2, 3)]
    rows.append({**same, 'experiment': 'b', 'seed': 1, 'top1': 40.0})
    first, second = summarise(rows)
    assert (first['top1'], first['lowest'], first['highest'], first['seeds']) == (52, 51, 53, 3)
    table = markdown([first, second], {'a': '57.5 / 80.3'}).splitlines()
    assert table[2] == (
        '| a | 3 | 52.0 (51.0 to 53.0) | 1,000,000 | 4.00 | 5.0 | 1.50 | 2.25 | 57.5 / 80.3 |'
    )
    assert table[3].startswith('| b | 3 | 40.0 | ')
