# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The trials of a sweep: each is taken once, by whoever; nothing that died is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')

from sqz_perception.errors import SweepInvalid
from training.study import DEATHS, Study, Task
from training.sweep import Range, Sweep

GRID = {'a': (1, 2, 3), 'b': ('x', None)}
RANGES = {'rate': Range(0.01, 1.0, log=True), 'fires': Range(1, 8), 'b': ('x', 'y')}
SETTINGS = {'model.learning_rate': 0.1, 'trainer.max_epochs': 1}

Open = Callable[..., Study]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens a study as another process would."""
    recipe = tmp_path / 'recipe.yaml'
    recipe.touch()

    def open_study(url: str | None = None, settings: Any = SETTINGS, **sweep: Any) -> Study:
        values = {'recipe': recipe, 'epochs': 1, 'space': GRID, **sweep}
        return Study(Sweep(**values), settings, tmp_path / 'study', url)

    return open_study


def finish(study: Study, task: Task, top1: float = 0.5) -> None:
    study.note(task, {'val/top1': top1, 'parameters': 7})
    study.finish(task)


def taken(study: Study) -> Task:
    task = study.take()
    assert task is not None
    return task


def states(study: Study) -> list[str]:
    return [row['state'] for row in study.rows()]


@pytest.mark.parametrize('storage', ['', 'sqlite:///{}/study.db'])
def test_two_that_share_a_study_take_each_trial_once(
    opened: Open, tmp_path: Path, storage: str
) -> None:
    url = storage.format(tmp_path) or None
    studies = [opened(url), opened(url)]
    tasks = [taken(studies[i % 2]) for i in range(6)]
    assert [study.take() for study in studies] == [None, None]
    assert sorted(task.number for task in tasks) == list(range(6))
    assert len({tuple(task.values.values()) for task in tasks}) == 6
    assert states(studies[0]) == ['running'] * 6
    for i, task in enumerate(tasks):
        finish(studies[i % 2], task, i / 10)
    rows = opened(url).rows()
    assert [row['val/top1'] for row in rows] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert {(row['a'], row['b']) for row in rows} == {
        (a, b) for a in (1, 2, 3) for b in ('x', None)
    }
    assert {row['state'] for row in rows} == {'complete'}
    assert {row['parameters'] for row in rows} == {7}


def test_a_trial_given_back_is_the_next_with_the_same_values(opened: Open) -> None:
    study = opened(space=RANGES, method='random', trials=3)
    first = taken(study)
    assert not first.again
    study.give_back(first)
    assert states(study) == ['waiting'] * 3
    again = taken(opened(space=RANGES, method='random', trials=3))
    assert (again.number, again.values, again.again) == (first.number, first.values, True)


def test_a_trial_whose_process_died_is_taken_again(opened: Open) -> None:
    study, other = opened(), opened()
    alive, dead = taken(other), taken(other)
    dead.claim.close()  # which the system does for a process that ends
    tasks = [taken(study) for _ in range(5)]
    assert study.take() is None
    assert tasks[0].number == dead.number
    assert tasks[0].again
    assert alive.number not in {task.number for task in tasks}


def test_a_trial_of_a_machine_with_another_folder_is_its_own(opened: Open, tmp_path: Path) -> None:
    url = f'sqlite:///{tmp_path}/study.db'
    there = taken(opened(url))
    there.claim.close()
    (there.folder / 'lock').unlink()
    assert taken(opened(url)).number != there.number


def test_a_trial_that_kills_each_process_is_given_up(opened: Open) -> None:
    study = opened()
    for _ in range(DEATHS):
        task = taken(study)
        assert task.number == 0
        task.claim.close()
    assert taken(study).number == 1
    assert study.rows()[0]['state'] == 'failed'
    assert 'died 3 times' in study.rows()[0]['reason']


def test_a_trial_with_a_checkpoint_is_not_given_up(opened: Open) -> None:
    study = opened()
    for _ in range(DEATHS + 2):
        task = taken(study)
        assert task.number == 0
        (task.folder / 'last.ckpt').touch()
        task.claim.close()


def test_a_failed_trial_keeps_its_reason_and_is_not_redone(opened: Open) -> None:
    study = opened(space={'a': (1,)})
    study.fail(taken(study), 'no network')
    assert opened(space={'a': (1,)}).take() is None
    assert study.rows()[0]['reason'] == 'no network'


def values(study: Study, trials: int) -> list[dict[str, Any]]:
    """Return the values of the next trials, each of which gives what its rate says."""
    found = []
    for _ in range(trials):
        task = taken(study)
        finish(study, task, float(task.values['rate']))
        found.append(task.values)
    return found


@pytest.mark.parametrize('method', ['random', 'tpe'])
def test_the_seed_decides_also_of_an_interrupted_sweep(
    opened: Open, tmp_path: Path, method: str
) -> None:
    sweep = {'space': RANGES, 'method': method, 'trials': 14}
    whole = values(opened(f'sqlite:///{tmp_path}/whole.db', **sweep), 14)
    first = values(opened(f'sqlite:///{tmp_path}/parts.db', **sweep), 6)
    rest = values(opened(f'sqlite:///{tmp_path}/parts.db', **sweep), 8)
    assert first + rest == whole
    assert len({point['rate'] for point in whole}) == 14
    assert all(0.01 <= point['rate'] <= 1 and point['fires'] in range(1, 9) for point in whole)
    other = opened(f'sqlite:///{tmp_path}/other.db', **sweep, seed=1)
    assert values(other, 1) != whole[:1]


def test_more_trials_are_added_to_a_sweep(opened: Open) -> None:
    sweep = {'space': RANGES, 'method': 'random'}
    study = opened(**sweep, trials=2)
    first = values(study, 2)
    assert study.take() is None
    more = opened(**sweep, trials=3)
    third = taken(more)
    assert third.values not in first
    assert more.take() is None
    more.give_back(third)
    assert len(opened(**sweep, trials=1).rows()) == 2  # those that are done are kept


def test_the_worse_half_is_pruned(opened: Open) -> None:
    study = opened(prune=True, epochs=4, space={'a': tuple(range(8))})
    for i in range(6):
        task = taken(study)
        for epoch in range(4):
            task.trial.report(0.5 + i / 100, epoch)
        finish(study, task)
    bad = taken(study)
    bad.trial.report(0.1, 0)
    assert not bad.trial.should_prune()  # too early
    bad.trial.report(0.1, 1)
    assert bad.trial.should_prune()
    study.prune(bad)
    assert states(study)[6:] == ['pruned', 'waiting']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'space': {'a': (1, 2)}}, 'space: a is'),
        ({'space': {**GRID, 'c': (1,)}}, 'space: c is None there'),
        ({'prune': True}, 'prune is False there and True here'),
        ({'settings': {**SETTINGS, 'model.learning_rate': 0.2}}, 'model.learning_rate is 0.1'),
    ],
)
def test_a_study_of_another_sweep_is_refused(
    opened: Open, change: dict[str, Any], message: str
) -> None:
    opened()
    with pytest.raises(SweepInvalid, match=message):
        opened(**change)


@pytest.mark.parametrize(
    ('content', 'url'),
    [
        (b'no study\n', None),
        (b'{"op_code": 77}\n', None),
        (b'no study', 'sqlite:///{}/study/study.log'),
        (b'', 'sqlite:////nowhere/study.db'),
        (b'', 'nonsense'),
        (b'', 'nonsense://host/study'),
    ],
)
def test_a_storage_that_holds_no_study_is_told_in_one_line(
    opened: Open, tmp_path: Path, content: bytes, url: str | None
) -> None:
    (tmp_path / 'study').mkdir()
    (tmp_path / 'study' / 'study.log').write_bytes(content)
    with pytest.raises(SweepInvalid, match='holds no study that can be used') as raised:
        opened(url.format(tmp_path) if url else None)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    'url',
    [
        'nonsense://me:s3c/r@et@host/study',
        'nonsense://me:s3c%2Fr%40et@host/study',
        'sqlite:////nowhere/study.db?password=s3c/r@et',
        'nonsense:me:s3c/r@et@host',
    ],
)
def test_the_password_of_a_database_is_masked(opened: Open, url: str) -> None:
    with pytest.raises(SweepInvalid, match='holds no study that can be used') as raised:
        opened(url)
    assert 's3c' not in str(raised.value)
    assert '***' in str(raised.value)
