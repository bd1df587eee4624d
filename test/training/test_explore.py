# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps of real trainings: finished, failed, interrupted, shared; and what is told before."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')
optuna = pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')

from training import explore, train  # noqa: E402
from training.cost import measure  # noqa: E402
from training.export import load_checkpoint  # noqa: E402
from training.learner import Learner  # noqa: E402
from training.metrics import epochs  # noqa: E402
from training.results import points  # noqa: E402

ROOT = Path(train.__file__).parents[1]
RECIPE = {
    'seed_everything': 1,
    'trainer': {
        'accelerator': 'cpu',
        'precision': '32-true',
        'enable_model_summary': False,
        'enable_progress_bar': False,
    },
    'data': {'size': 32, 'batch_size': 16},
    'model': {
        'architecture': {'base_e': 16, 'incr_e': 0, 'fires': 2, 'stem': 'small', 'norm': True},
        'learning_rate': 0.05,
    },
}
EPOCHS = 40  # long enough that a signal after the first comes before the last
RATIO, RATE = 'model.architecture.squeeze_ratio', 'model.learning_rate'
GRID = {RATIO: [0.25, 0.5], 'model.architecture.bypass': ['none', 'simple']}

Command = Callable[..., list[str]]


@pytest.fixture
def line(tmp_path: Path, colors: Path) -> Command:
    """Return a function that writes a sweep and returns the arguments of the command for it."""

    def write(space: Any, *more: str, **sweep: Any) -> list[str]:
        (tmp_path / 'recipe.yaml').write_text(yaml.dump(RECIPE))
        content = {'recipe': 'recipe.yaml', 'epochs': 1, 'space': space, **sweep}
        path = tmp_path / 'sweep.yaml'
        path.write_text(yaml.dump(content, sort_keys=False))
        return [str(path), '--data.path', str(colors), '--out', str(tmp_path / 'out'), *more]

    return write


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / 'out' / 'results.csv').open(newline='') as lines:
        return list(csv.DictReader(lines))


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'training.explore', *arguments],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Begun in the background by a script, the tests have it ignored, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.usefixtures('curves')
def test_a_grid_is_trained_reported_and_not_trained_again(
    line: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert explore.main(line(GRID)) == 0
    shown = capsys.readouterr().out
    assert 'trial 3 of 4: squeeze_ratio 0.5, bypass simple' in shown
    assert 'results.csv: 4 complete' in shown
    assert 'best: trial ' in shown
    rows = table(tmp_path)
    assert [(row[RATIO], row['model.architecture.bypass']) for row in rows] == [
        (ratio, bypass) for ratio in ('0.25', '0.5') for bypass in ('none', 'simple')
    ]
    for number, row in enumerate(rows):
        run = tmp_path / 'out' / f'trial_{number:04d}'
        assert row['state'] == 'complete'
        top1 = epochs(run / 'metrics.csv')[-1]['val/top1']
        assert float(row['val/top1']) == pytest.approx(top1, abs=1e-6)
        assert float(row['val/top5']) == 1
        assert float(row['seconds']) > 0
        net = load_checkpoint(run / 'last.ckpt').net
        assert net.architecture.squeeze_ratio == float(row[RATIO])
        cost = measure(net, 32)
        assert (int(row['parameters']), int(row['macs'])) == (cost.parameters, cost.macs)
    for name in ('parameters.png', 'size.png', 'trial_0000/curves.png'):
        assert cv2.imread(str(tmp_path / 'out' / name)) is not None
    monkeypatch.setattr(train, 'fit', None)  # whoever trains now fails
    assert explore.main(line(GRID)) == 0
    assert table(tmp_path) == rows


def test_a_trial_that_can_not_be_trained_is_a_failed_one(
    line: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {RATE: [0.05, 1e30], RATIO: [7, 0.5], 'model.architecture.norm': [False]}
    assert explore.main(line(space)) == 0
    assert '3 failed, 1 complete' in capsys.readouterr().out
    invalid, good, worse, diverged = table(tmp_path)
    assert good['state'] == 'complete'
    assert {row['state'] for row in (invalid, worse, diverged)} == {'failed'}
    assert 'squeeze_ratio must be above 0 and at most 1' in invalid['reason']
    assert 'the loss became' in diverged['reason']
    assert int(diverged['parameters']) > 0


def test_a_sweep_of_which_all_fail_fails(
    line: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore.main(line({RATIO: [7, 8]})) == 1
    assert last_line(capsys).startswith('error: all 2 trials failed, the first: squeeze_ratio')


def test_ranges_of_a_database_are_pruned_and_seeds_are_kept(line: Command, tmp_path: Path) -> None:
    sweep = {'method': 'tpe', 'trials': 2, 'prune': True, 'seed': 5}
    space = {RATE: {'low': 0.001, 'high': 0.1, 'log': True}}
    assert explore.main(line(space, '--storage', f'sqlite:///{tmp_path}/s.db', **sweep)) == 0
    rows = table(tmp_path)
    assert len({row[RATE] for row in rows}) == 2
    assert all(0.001 <= float(row[RATE]) <= 0.1 for row in rows)
    assert not (tmp_path / 'out' / 'study.log').exists()
    config = yaml.safe_load((tmp_path / 'out' / 'trial_0001' / 'config.yaml').read_text())
    assert config['seed_everything'] == 5
    assert config['model']['learning_rate'] == float(rows[1][RATE])


def test_a_hopeless_trial_ends_and_is_recorded(
    line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_two_epochs(trial: optuna.Trial) -> bool:
        return trial.study.trials[trial.number].last_step == 1

    monkeypatch.setattr(optuna.Trial, 'should_prune', after_two_epochs)
    assert explore.main(line({RATIO: [0.5]}, epochs=5)) == 0
    (row,) = table(tmp_path)
    assert row['state'] == 'pruned'
    rows = epochs(tmp_path / 'out' / 'trial_0000' / 'metrics.csv')
    assert [row['epoch'] for row in rows] == [0, 1]
    assert float(row['val/top1']) == pytest.approx(rows[1]['val/top1'], abs=1e-6)


def test_two_processes_share_a_sweep(line: Command, tmp_path: Path) -> None:
    arguments = line({**GRID, 'data.flip': [True]})
    processes = [start(arguments), start(arguments)]
    outputs = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    begun = [text for out, _ in outputs for text in out.splitlines() if text.startswith('trial ')]
    assert sorted(text.split()[1] for text in begun) == ['0', '1', '2', '3']
    rows = table(tmp_path)
    assert {row['state'] for row in rows} == {'complete'}
    assert len({(row[RATIO], row['model.architecture.bypass']) for row in rows}) == 4


@pytest.mark.parametrize(
    ('how', 'code'),
    [(signal.SIGINT, 130), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)],
)
def test_a_sweep_whose_process_ends_is_resumed(
    line: Command, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    arguments = line({RATIO: [0.5]}, epochs=EPOCHS)
    process = start(arguments)
    run = tmp_path / 'out' / 'trial_0000'
    while not (run / 'last.ckpt').exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(how)
    _, error = process.communicate(timeout=600)
    assert process.returncode == code, error
    assert 'Traceback' not in error
    if how == signal.SIGINT:
        assert error.strip().splitlines()[-1] == 'interrupted; run the same command again to go on'
    assert len(epochs(run / 'metrics.csv')) < EPOCHS
    assert explore.main(arguments) == 0
    assert [row['epoch'] for row in epochs(run / 'metrics.csv')] == list(range(EPOCHS))
    assert table(tmp_path)[0]['state'] == 'complete'


def test_a_trial_goes_on_from_its_last_epoch_after_an_interrupt(
    line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, seen = Learner.training_step, []

    def interrupted(self: Learner, *batch: object) -> torch.Tensor:
        seen.append(self.current_epoch)
        if self.current_epoch == 2 and seen.count(2) == 1:
            raise KeyboardInterrupt
        return step(self, *batch)

    monkeypatch.setattr(Learner, 'training_step', interrupted)
    assert explore.main(line({RATIO: [0.5, 0.25]}, epochs=3)) == 130
    assert [row['state'] for row in table(tmp_path)] == ['waiting', 'waiting']
    before = len(seen)
    assert explore.main(line({RATIO: [0.5, 0.25]}, epochs=3)) == 0
    assert seen[before] == 2
    assert [row['state'] for row in table(tmp_path)] == ['complete', 'complete']


def test_a_trial_that_had_ended_when_its_process_died_is_only_recorded(
    line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = line({RATIO: [0.5]})
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(explore.Study, 'finish', lambda *_: sys.exit())
        explore.main(arguments)
    steps = torch.load(tmp_path / 'out' / 'trial_0000' / 'last.ckpt')['global_step']
    assert explore.main(arguments) == 0
    (row,) = table(tmp_path)
    assert row['state'] == 'complete'
    assert torch.load(tmp_path / 'out' / 'trial_0000' / 'last.ckpt')['global_step'] == steps


def test_a_damaged_checkpoint_means_to_begin_anew(
    line: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = line({RATIO: [0.5]})
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(explore.Study, 'finish', lambda *_: sys.exit())
        explore.main(arguments)
    last = tmp_path / 'out' / 'trial_0000' / 'last.ckpt'
    last.write_bytes(last.read_bytes()[:1000])
    assert explore.main(arguments) == 0
    assert table(tmp_path)[0]['state'] == 'complete'


@pytest.mark.parametrize(
    ('space', 'more', 'message'),
    [
        (
            {'model.architecture.squeez_ratio': [0.5]},
            (),
            'there is no model.architecture.squeez_ratio to vary; did you mean '
            'model.architecture.squeeze_ratio?',
        ),
        ({'model.architecture.squeeze': [0.5]}, (), 'there is no model.architecture.squeeze to'),
        ({'zzz': [0.5]}, (), 'there is no zzz to vary; its names are as in the recipe'),
        ({'model.architecture.fires': [2, 2.5]}, (), 'model.architecture.fires 2.5: '),
        ({'model.optimizer': ['sgd', 'adam']}, (), 'model.optimizer adam: '),
        ({RATIO: [0.5]}, ('--data.path', '/nowhere.zip'), '/nowhere.zip does not exist'),
        ({RATIO: [0.5]}, ('--model.nonsense', '1'), 'unrecognized arguments'),
        ({RATIO: [0.5]}, ('--trainer.devices', '0'), 'is not a valid input'),
        ({RATIO: [0.5]}, ('--storage', 'sqlite:////nowhere/x.db'), 'holds no study'),
        ({}, (), 'space is empty'),
        ({RATE: {'low': 0.1, 'high': 0.2}}, (), 'a grid takes lists'),
    ],
)
def test_what_can_not_be_explored_is_told_in_one_line(
    line: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    space: Any,
    more: tuple[str, ...],
    message: str,
) -> None:
    assert explore.main(line(space, *more)) == 1
    shown = capsys.readouterr()
    assert shown.err.strip().splitlines()[-1].startswith('error: ')
    assert message in shown.err
    assert 'Traceback' not in shown.err
    assert not (tmp_path / 'out' / 'results.csv').exists()


def test_a_sweep_that_validates_nothing_is_told(
    line: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore.main(line({RATIO: [0.5]}, '--trainer.limit_val_batches', '0')) == 1
    assert last_line(capsys).startswith('error: no epoch was validated')


def test_a_recipe_that_has_changed_is_another_sweep(
    line: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explore.main(line({RATIO: [0.5]})) == 0
    assert explore.main([*line({RATIO: [0.5]}), '--model.label_smoothing', '0.1']) == 1
    error = last_line(capsys)
    assert 'is of another sweep (model.label_smoothing is 0.0 there and 0.1 here)' in error
    same = [*line({RATIO: [0.5]}), '--trainer.enable_progress_bar', 'true']
    assert explore.main(same) == 0  # that decides nothing


def test_torchrun_is_refused(
    line: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    assert explore.main(line({RATIO: [0.5]})) == 1
    assert 'without torchrun' in last_line(capsys)


def test_seeds_are_one_point_with_their_spread() -> None:
    rows = [
        {'trial': i, 'a': a, 'b': 'x', 'seed_everything': i, 'val/top1': top1, 'parameters': 9}
        for i, (a, top1) in enumerate([(1, 0.5), (1, 0.7), (2, 0.6)])
    ]
    one, two = points(rows, ['a', 'b', 'seed_everything'])
    assert (one.label, one.group, one.size) == ('b x', 'a 1', 9)
    assert one.accuracy == pytest.approx(60)
    assert one.spread == pytest.approx(14.142, abs=1e-3)
    assert (two.group, two.spread) == ('a 2', 0)


def test_help_shows_examples_and_the_example_is_a_sweep(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        explore.main(['--help'])
    assert 'training/recipes/sweep.yaml --data.path' in capsys.readouterr().out
    sweep = explore.read(ROOT / 'training' / 'recipes' / 'sweep.yaml')
    assert sweep.total == 9
