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
"""Points are trained once each, by whoever shares the database; none that died is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution

from training.errors import TrainingError
from training.experiments import engine, storage
from training.experiments.engine import Point, Study, Task

ROOT = Path(engine.__file__).parents[2]
POINTS = [Point(f'p{i}', {'a': i}) for i in range(4)]
SPACE = {'a': CategoricalDistribution([0, 1, 2, 3])}
SETTINGS = {'model.rate': 0.1, 'trainer.max_epochs': 1}
# A process that trains: each point until the file `go` exists in the folder of the study.
WORKER = """\
import sys, time
from pathlib import Path
from training.experiments import storage
from training.experiments.engine import Point, Study
storage.HEARTBEAT, storage.GRACE = 1, 2
folder, url = Path(sys.argv[1]), sys.argv[2]
def train(task):
    task.folder.mkdir(exist_ok=True)
    while not (folder / 'go').exists() and not task.stop.is_set():
        time.sleep(0.05)
    return 0.5
study = Study(folder, [Point(f'p{i}', {'a': i}) for i in range(4)], {'x': 1}, url)
study.work(train, [*study.points])
"""

Open = Callable[..., Study]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens a study as another process would."""

    def open_study(points: Any = POINTS, settings: Any = SETTINGS, **more: Any) -> Study:
        return Study(tmp_path / 'study', points, settings, **{'space': SPACE, **more})

    return open_study


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, 'POLL', 0.02)
    monkeypatch.setattr(storage, 'HEARTBEAT', 1)
    monkeypatch.setattr(storage, 'GRACE', 2)


def accuracy(task: Task) -> float:
    task.trial.set_user_attr('val/top1', task.values['a'] / 10)
    return task.values['a'] / 10


def run(study: Study, train: engine.Train = accuracy, **more: Any) -> list[str]:
    study.work(train, [*study.points], **more)
    return [row['state'] for row in study.rows()]


def start(folder: Path, url: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, '-c', WORKER, str(folder), url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_each_point_is_trained_once(opened: Open) -> None:
    trained: list[str] = []

    def train(task: Task) -> float:
        trained.append(task.folder.name)
        time.sleep(0.05)
        return accuracy(task)

    study = opened()
    assert run(study, train, jobs=3) == ['complete'] * 4
    assert sorted(trained) == ['p0', 'p1', 'p2', 'p3']
    assert [(row['trial'], row['a'], row['val/top1']) for row in study.rows()] == [
        (f'p{i}', i, i / 10) for i in range(4)
    ]
    assert run(opened(), train) == ['complete'] * 4  # and not again
    assert len(trained) == 4


def test_a_point_waits_for_the_one_it_needs(opened: Open) -> None:
    points = [Point('late', {'a': 0}, 'base'), Point('lost', {'a': 0}, 'bad'),
              Point('base', {'a': 1}), Point('bad', {'a': 2})]  # fmt: skip
    order: list[str] = []

    def train(task: Task) -> float:
        order.append(task.point.name)
        if task.point.name == 'bad':
            raise TrainingError('no network')
        return 0.5

    assert run(opened(points), train, jobs=2) == ['complete', 'waiting', 'complete', 'failed']
    assert order.index('base') < order.index('late')


def test_what_failed_keeps_its_reason_and_is_tried_again_by_the_next_command(opened: Open) -> None:
    def fails(task: Task) -> float:
        if task.values['a'] == 1:
            raise TrainingError('the loss became infinite')
        return accuracy(task)

    study = opened()
    assert run(study, fails) == ['complete', 'failed', 'complete', 'complete']
    assert study.rows()[1]['reason'] == 'the loss became infinite'
    assert run(study) == ['complete', 'failed', 'complete', 'complete']
    assert run(opened()) == ['complete'] * 4


def test_an_interrupted_point_goes_on_with_its_values(opened: Open) -> None:
    points = [Point('p0'), Point('p1')]
    space = {'rate': FloatDistribution(0.01, 1, log=True)}
    seen: list[tuple[bool, Any]] = []

    def interrupted(task: Task) -> None:
        seen.append((task.again, task.values['rate']))
        task.stop.set()

    assert run(opened(points, space=space), interrupted) == ['waiting', 'waiting']

    def train(task: Task) -> float:
        seen.append((task.again, task.values['rate']))
        return 0.5

    assert run(opened(points, space=space), train) == ['complete'] * 2
    assert [again for again, _ in seen] == [False, True, False]
    assert seen[0][1] == seen[1][1] != seen[2][1]


def test_a_bug_is_no_failed_trial(opened: Open) -> None:
    study = opened()
    with pytest.raises(ZeroDivisionError):
        run(study, lambda _: 1 / 0)
    assert [row['state'] for row in study.rows()] == ['waiting'] * 4


def test_a_trial_that_others_took_over_is_left_to_them(opened: Open) -> None:
    def suspended(task: Task) -> float:
        task.trial.study.tell(task.trial.number, state=optuna.trial.TrialState.FAIL)
        task.stop.set()
        return 0.5

    assert run(opened(), suspended) == ['waiting'] * 4


def test_whoever_is_left_finishes_what_a_killed_process_began(tmp_path: Path) -> None:
    folder, url = tmp_path / 'study', f'sqlite:///{tmp_path}/a.db'
    killed, other = start(folder, url), start(folder, url)
    while len([*folder.glob('p*')]) < 2:
        assert other.poll() is None, other.communicate()
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    (folder / 'go').touch()
    output, error = other.communicate(timeout=600)
    assert other.returncode == 0, error
    assert killed.wait() == -signal.SIGKILL
    rows = Study(folder, POINTS, None, url).rows()
    assert [row['state'] for row in rows] == ['complete'] * 4
    assert output.count('top-1 50.00 %') in (3, 4)
    assert 'Traceback' not in error
