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
"""Runs of training.train: what they are given, and how each way to end is recorded."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')
pytest.importorskip('torch')

import optuna

from training.errors import SweepInvalid
from training.experiments import engine
from training.experiments.engine import Point, Study
from training.experiments.runs import Runner

EPOCHS = '--trainer.max_epochs={}'
pytestmark = pytest.mark.usefixtures('fake_training')


def study(folder: Path, *rates: float, **more: Any) -> Study:
    points = [Point(f'p{i}', {'model.rate': rate}) for i, rate in enumerate(rates)]
    return Study(folder, points, {}, **more)


def work(opened: Study, epochs: int = 1) -> list[dict[str, Any]]:
    opened.work(Runner([EPOCHS.format(epochs)], threads=1), [*opened.points])
    return opened.rows()


def test_the_last_epoch_and_the_cost_are_recorded(tmp_path: Path) -> None:
    (row,) = work(study(tmp_path, 0.25), 2)
    assert row['state'] == 'complete'
    assert [row[name] for name in engine.MEASURES] == [0.25, 1, 0.5, 2, 7, 9]
    assert (tmp_path / 'p0' / 'last.ckpt').read_text() == ''


def test_a_training_that_fails_is_a_failed_trial_with_one_line(tmp_path: Path) -> None:
    bad, good = work(study(tmp_path, 2, 0.5))
    assert bad['reason'] == 'the loss became infinite; lower the rate'
    assert (bad['state'], good['state']) == ('failed', 'complete')


def test_a_training_in_the_same_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'p0').mkdir()
    with (tmp_path / 'p0' / 'log.txt').open('a') as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        (row,) = work(study(tmp_path, 0.5))
    assert 'another training writes' in row['reason']


def test_an_interrupted_training_ends_and_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    opened, last = study(tmp_path, 0.5), tmp_path / 'p0' / 'last.ckpt'
    thread = Thread(target=lambda: (wait_for(last), opened.stop.set()))
    thread.start()
    (row,) = work(opened, 10_000)
    thread.join()
    assert row['state'] == 'waiting'
    (row,) = work(study(tmp_path, 0.5))
    assert row['state'] == 'complete'
    assert last.read_text() == str(last)


def test_what_a_pruner_ends_keeps_its_last_accuracy(tmp_path: Path) -> None:
    class Pruner(optuna.pruners.NopPruner):
        def prune(self, study: Any, trial: Any) -> bool:
            return bool(trial.intermediate_values)

    (row,) = work(study(tmp_path, 0.5, pruner=Pruner()), 10_000)
    assert (row['state'], row['val/top1']) == ('pruned', 0.5)


def test_a_training_ends_with_the_process_that_began_it(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        os._exit(bool(work(study(tmp_path, 0.5), 10_000)))
    wait_for(tmp_path / 'p0' / 'last.ckpt')
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with (tmp_path / 'p0' / 'log.txt').open('a') as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # or the test never ends


def test_settings_are_those_of_the_recipe_and_not_of_the_machine() -> None:
    assert Runner([]).settings({'model.rate': 1}) == {
        'seed_everything': 1,
        'trainer.max_epochs': 1,
    }
    with pytest.raises(SweepInvalid, match='^unrecognized arguments: --model.nonsense$'):
        Runner([]).settings({'model.nonsense': 1})


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    with pytest.raises(SweepInvalid, match='without torchrun'):
        Runner([]).settings({})


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)
