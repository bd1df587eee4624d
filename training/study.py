# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The trials of a sweep, shared by all processes that work on them.

All trials wait in an Optuna study from the beginning, each with its number; a process takes the
next one that waits, so no two train the same. While it does, it holds a lock on a file in the
trial's folder, which the system lets go when the process ends, however that happens. So a trial
that is running while nobody holds its lock has died, and waits again. Where its process shares no
folder with this one, there is no such file here, and the trial is left to its own machine.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import optuna
from optuna.trial import TrialState

from sqz_perception.errors import SweepInvalid
from training.interrupt import deferred
from training.masking import without
from training.sweep import Range, Sweep, Value

DEATHS = 3  # of its processes, after which a trial without a checkpoint counts as failed
CHECKPOINT = 'last.ckpt'
LOCK = 'lock'
SWEEP = 'sweep'  # key of the study's own description
STATES = {
    TrialState.COMPLETE: 'complete',
    TrialState.PRUNED: 'pruned',
    TrialState.FAIL: 'failed',
    TrialState.RUNNING: 'running',
    TrialState.WAITING: 'waiting',
}
MEASURES = ('val/top1', 'val/top5', 'val/loss', 'parameters', 'macs', 'seconds')


@dataclass(frozen=True)
class Task:
    """A trial that this process has taken."""

    number: int
    values: dict[str, Value]
    folder: Path
    again: bool  # another process, or this one, has begun it before
    trial: optuna.Trial
    claim: TextIO = field(repr=False)  # the lock
    since: float = field(default_factory=time.monotonic)


class Study:
    """
    The trials of one sweep in one storage.

    Ctrl-C waits for what is done with them: it would leave the storage locked.
    """

    @deferred()
    def __init__(
        self, sweep: Sweep, settings: Mapping[str, object], folder: Path, url: str | None = None
    ) -> None:
        """
        Open the study of ``sweep``, or begin it.

        :param sweep: What is tried.
        :param settings: All else that decides what a trial gives, by name; another process's equal
            these.
        :param folder: Of the sweep; each trial has a folder in it. Its name is the study's.
        :param url: Of a database; without one the study is kept in the folder, in study.log.

        Raises SweepInvalid, also for a study of another sweep.

        """
        self.sweep, self.folder = sweep, folder
        self.where = without(url, url) if url else str(folder / 'study.log')
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            try:
                self._open(url)
            except Exception as error:  # whatever a database or a damaged file gives
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                reason = without(reason, url or '')
                raise SweepInvalid(
                    f'{self.where} holds no study that can be used ({reason}); repair it, or give '
                    'another --storage or --out'
                ) from error
            self._check(settings)
            for _ in range(len(self.study.trials), sweep.total):
                self.study.add_trial(optuna.create_trial(state=TrialState.WAITING))

    @deferred()
    def take(self) -> Task | None:
        """Return the next trial that waits, or None."""
        with locked(self.folder):
            self._revive()
            for number in self._numbers(TrialState.WAITING):
                folder = self.folder / f'trial_{number:04d}'
                folder.mkdir(exist_ok=True)
                claim = claimed(folder)
                if claim is None:
                    continue
                if self._begun(number):
                    return self._task(number, folder, claim)
                _release(folder, claim)
        return None

    @deferred()
    def note(self, task: Task, measures: Mapping[str, float]) -> None:
        """Record figures of a trial, of those that MEASURES names."""
        for name, value in measures.items():
            task.trial.set_user_attr(name, value)

    @deferred()
    def finish(self, task: Task) -> None:
        """Record that a trial has been trained; its val/top1 has been noted."""
        self._end(task, TrialState.COMPLETE, task.trial.user_attrs['val/top1'])

    @deferred()
    def prune(self, task: Task) -> None:
        """Record that a trial was ended for being worse than others."""
        self._end(task, TrialState.PRUNED)

    @deferred()
    def fail(self, task: Task, reason: str) -> None:
        """Record a trial that can't be trained, and why."""
        task.trial.set_user_attr('reason', reason)
        self._end(task, TrialState.FAIL)

    @deferred()
    def give_back(self, task: Task) -> None:
        """Let a trial wait again; whoever takes it goes on where it stopped."""
        task.trial.set_user_attr('seconds', _seconds(task))
        with locked(self.folder):
            self.storage.set_trial_state_values(self._id(task.number), TrialState.WAITING)
            _release(task.folder, task.claim)

    @deferred()
    def rows(self) -> list[dict[str, Any]]:
        """Return what is known of each trial, by number."""
        return [
            {
                'trial': trial.number,
                **{name: trial.params.get(name) for name in self.sweep.space},
                **{name: trial.user_attrs.get(name) for name in MEASURES},
                'state': STATES[trial.state],
                'reason': trial.user_attrs.get('reason'),
            }
            for trial in self.study.get_trials(deepcopy=False)
            if trial.number < self.sweep.total or trial.state.is_finished()
        ]

    def _open(self, url: str | None) -> None:
        self.storage: optuna.storages.BaseStorage
        if url:
            self.storage = optuna.storages.RDBStorage(url)
        else:
            file = optuna.storages.journal.JournalFileBackend(str(self.folder / 'study.log'))
            self.storage = optuna.storages.JournalStorage(file)
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=self.folder.resolve().name,
            direction='maximize',
            pruner=(
                optuna.pruners.MedianPruner(n_warmup_steps=self.sweep.epochs // 4)
                if self.sweep.prune
                else optuna.pruners.NopPruner()
            ),
            load_if_exists=True,
        )
        self.id = self.storage.get_study_id_from_name(self.study.study_name)

    def _check(self, settings: Mapping[str, object]) -> None:
        """Raise SweepInvalid where the study is of another sweep than ours."""
        space = {f'space: {name}': repr(tried) for name, tried in self.sweep.space.items()}
        own = {'method': self.sweep.method, 'prune': self.sweep.prune, **space, **settings}
        own = json.loads(json.dumps(own))
        held = self.study.user_attrs.get(SWEEP)
        if held is None:
            self.study.set_user_attr(SWEEP, own)
            return
        for name in sorted({*own, *held}):
            if own.get(name) != held.get(name):
                raise SweepInvalid(
                    f'{self.where} is of another sweep ({name} is {held.get(name)} there and '
                    f'{own.get(name)} here); give another --out, or the sweep file of before'
                )

    def _revive(self) -> None:
        """Let the trials wait again whose process has died."""
        for number in self._numbers(TrialState.RUNNING):
            folder, id_ = self.folder / f'trial_{number:04d}', self._id(number)
            claim = claimed(folder) if (folder / LOCK).exists() else None
            if claim is None:
                continue
            deaths = self.storage.get_trial_user_attrs(id_).get('deaths', 0) + 1
            self.storage.set_trial_user_attr(id_, 'deaths', deaths)
            hopeless = deaths >= DEATHS and not (folder / CHECKPOINT).exists()
            if hopeless:
                reason = f'its process died {deaths} times before the first epoch was over'
                self.storage.set_trial_user_attr(id_, 'reason', reason)
            state = TrialState.FAIL if hopeless else TrialState.WAITING
            self.storage.set_trial_state_values(id_, state)
            _release(folder, claim)

    def _begun(self, number: int) -> bool:
        """Take a trial, unless a process on another machine was faster."""
        try:
            return self.storage.set_trial_state_values(self._id(number), TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _task(self, number: int, folder: Path, claim: TextIO) -> Task:
        self.study.sampler = self._sampler(number)
        trial = optuna.Trial(self.study, self._id(number))
        again = 'begun' in trial.user_attrs
        trial.set_user_attr('begun', True)
        values = {name: _suggested(trial, name, what) for name, what in self.sweep.space.items()}
        return Task(number, values, folder, again, trial, claim)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """Return what chooses the values of one trial, by seed and number alone."""
        if self.sweep.method == 'grid':
            return _Fixed(self.sweep.point(number))
        seed = int(np.random.SeedSequence((self.sweep.seed, number)).generate_state(1)[0])
        if self.sweep.method == 'random':
            return optuna.samplers.RandomSampler(seed)
        return optuna.samplers.TPESampler(seed=seed)

    def _end(self, task: Task, state: TrialState, value: float | None = None) -> None:
        task.trial.set_user_attr('seconds', _seconds(task))
        with locked(self.folder):
            self.study.tell(task.trial, value, state)
            _release(task.folder, task.claim)

    def _numbers(self, state: TrialState) -> list[int]:
        trials = self.study.get_trials(deepcopy=False, states=(state,))
        return [trial.number for trial in trials if trial.number < self.sweep.total]

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.id, number)


class _Fixed(optuna.samplers.BaseSampler):
    """Chooses what it is told."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = values

    def infer_relative_search_space(self, *_: Any) -> dict[str, Any]:
        return {}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Value:
        return self.values[name]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for the lock of ``folder`` and hold it."""
    with (folder / LOCK).open('a', encoding='utf-8') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claimed(folder: Path) -> TextIO | None:
    """Return the lock of ``folder``, held until it is closed; None: another process has it."""
    file = (folder / LOCK).open('a', encoding='utf-8')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _release(folder: Path, claim: TextIO) -> None:
    (folder / LOCK).unlink(missing_ok=True)
    claim.close()


def _seconds(task: Task) -> float:
    """Return how long a trial has been trained, with the times that were interrupted."""
    before = task.trial.user_attrs.get('seconds', 0.0)
    return round(before + time.monotonic() - task.since, 1)


def _suggested(trial: optuna.Trial, name: str, what: Range | tuple[Value, ...]) -> Value:
    if not isinstance(what, Range):
        return trial.suggest_categorical(name, what)
    if what.whole:
        return trial.suggest_int(name, int(what.low), int(what.high), log=what.log)
    return trial.suggest_float(name, what.low, what.high, log=what.log)
