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
"""
Train the points of a study, each once, in all processes that share its database.

Each process repeats one step: claim the first point that is free, train it, record the result.
A running trial sends heartbeats. When they stop, Optuna marks it as failed, and a process goes
on with its point from the last checkpoint. So one that finds nothing to train waits for the
others. Optuna's GridSampler does not choose the points: at the end it repeats running ones.
"""

from __future__ import annotations

import fcntl
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from training.errors import SweepInvalid, TrainingError
from training.experiments import storage
from training.reporting.command import ended_by_sigterm
from training.reporting.masking import without

Value = bool | int | float | str | None

POLL = 1.0  # seconds between two looks at what the others do
MEASURES = ('val/top1', 'val/top5', 'val/loss', 'epochs', 'parameters', 'macs')


@dataclass(frozen=True)
class Point:
    """One training: a name, which is its folder, and its own values of the recipe."""

    name: str
    values: Mapping[str, Value] = field(default_factory=dict)
    needs: str | None = None  # the point whose result it begins with


@dataclass(frozen=True)
class Task:
    """A point that this process has claimed."""

    point: Point
    values: Mapping[str, Value]
    folder: Path
    again: bool  # it has been begun before
    trial: optuna.Trial
    stop: Event  # set when the training has to end


# Trains, notes MEASURES in the trial and returns top-1, 0 to 1; None: it was interrupted.
# Raises TrainingError, or optuna.TrialPruned.
Train = Callable[[Task], float | None]


class Study:
    """The points of a sweep, or of the paper, and what is known of them."""

    def __init__(
        self,
        folder: Path,
        points: Sequence[Point],
        settings: Mapping[str, object] | None = None,
        url: str | None = None,
        *,
        space: Mapping[str, BaseDistribution] | None = None,
        seed: int = 0,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:
        """
        Open the study in the database ``url``, by default a file in ``folder``, or begin it.

        Optuna chooses, with ``seed``, the values of ``space`` that a point lacks. All processes
        have equal ``settings``; None: only to look at results. Raises SweepInvalid.
        """
        self.folder, self.url = folder, url or f'sqlite:///{folder / "study.db"}'
        self.points = {point.name: point for point in points}
        self.space, self.seed = dict(space or {}), seed
        self.stop, self.lock = Event(), Lock()
        with locked(folder), storage.reported(self.url, ImportError, KeyError, ValueError):
            self.storage = storage.connect(self.url)
            self.study = optuna.create_study(
                storage=self.storage,
                pruner=pruner or optuna.pruners.NopPruner(),
                study_name=folder.resolve().name,
                direction='maximize',
                load_if_exists=True,
            )
            self.id = self.storage.get_study_id_from_name(self.study.study_name)
            self.begun = len(self.study.get_trials(deepcopy=False))
            held = self.study.user_attrs.get('settings')
            if settings and not held:
                self.study.set_user_attr('settings', settings)
        own, held = json.loads(json.dumps(settings or {})), (settings and held) or {}
        for name in sorted({*own, *held}):
            if held and own.get(name) != held.get(name):
                raise SweepInvalid(
                    f'{without(self.url, self.url)} holds other settings ({name} is '
                    f'{held.get(name)} there and {own.get(name)} here); choose another --output'
                )

    def work(
        self,
        train: Train,
        names: Sequence[str],
        jobs: int = 1,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """Train these points, ``jobs`` at a time, until each has ended; call ``after`` each."""
        points = [self.points[name] for name in names]
        with storage.reported(self.url), ended_by_sigterm(), ThreadPoolExecutor(jobs) as pool:
            workers = [pool.submit(self._work, points, train, after) for _ in range(jobs)]
            try:
                for worker in as_completed(workers):
                    worker.result()
            except KeyboardInterrupt:
                raise KeyboardInterrupt('give the same command again to continue') from None
            finally:
                self.stop.set()

    def rows(self) -> list[dict[str, Any]]:
        """Return what is known of each point."""
        with storage.reported(self.url):
            attempts = self._attempts()
        return [_row(point, attempts[name], self.space) for name, point in self.points.items()]

    def _work(self, points: Sequence[Point], train: Train, after: Callable[[], None]) -> None:
        while not self.stop.is_set():
            optuna.storages.fail_stale_trials(self.study)
            with self.lock:
                attempts = self._attempts()
                free = [point for point in points if self._free(point, attempts)]
                task = self._claim(free[0], attempts[free[0].name]) if free else None
            if task:
                self._carry_out(task, train)
                with self.lock:
                    after()
            elif free or any(_has(attempts[p.name], TrialState.RUNNING) for p in points):
                self.stop.wait(POLL * random.uniform(0.5, 1))
            else:
                return

    def _attempts(self) -> dict[str, list[FrozenTrial]]:
        """Return the trials of each point, oldest first."""
        found: dict[str, list[FrozenTrial]] = {name: [] for name in self.points}
        for trial in self.study.get_trials(deepcopy=False):
            found.get(trial.user_attrs.get('point', ''), []).append(trial)
        return found

    def _free(self, point: Point, attempts: Mapping[str, Sequence[FrozenTrial]]) -> bool:
        """Return whether to train a point now: also if it failed before this process began."""
        if point.needs and not _has(attempts[point.needs], TrialState.COMPLETE):
            return False
        return all(
            trial.state == TrialState.FAIL
            and ('reason' not in trial.user_attrs or trial.number < self.begun)
            for trial in attempts[point.name]
        )

    def _claim(self, point: Point, before: Sequence[FrozenTrial]) -> Task | None:
        """Claim a point, unless another process does so at this moment."""
        self.study.sampler = self._sampler(point, before)
        trial = self.study.ask(self.space)
        self.storage.record_heartbeat(self._id(trial))
        trial.set_user_attr('point', point.name)
        rivals = [each for each in self._attempts()[point.name] if each.number != trial.number]
        if any(rival.state != TrialState.FAIL for rival in rivals):
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        values = {**point.values, **trial.params}
        return Task(point, values, self.folder / point.name, bool(before), trial, self.stop)

    def _sampler(self, point: Point, before: Sequence[FrozenTrial]) -> Any:
        """Return what gives each attempt of a point the same values, other points others."""
        fixed = {**point.values, **(before[0].params if before else {})}
        seed = 10_000 * self.seed + [*self.points].index(point.name)
        return optuna.samplers.PartialFixedSampler(
            {name: fixed[name] for name in self.space if name in fixed},
            optuna.samplers.TPESampler(seed=seed % 2**32, constant_liar=True),
        )

    def _carry_out(self, task: Task, train: Train) -> None:
        """Train and record the result, or the reason of a failure; neither if interrupted."""
        state, top1, outcome = TrialState.FAIL, None, 'interrupted'
        began = time.monotonic()
        print(f'{task.point.name} begins: {brief(task.values)}', flush=True)
        try:
            with self._alive(task.trial):
                top1 = train(task)
            if top1 is not None:
                state, outcome = TrialState.COMPLETE, f'top-1 {100 * top1:.2f} %'
        except optuna.TrialPruned:
            state, outcome = TrialState.PRUNED, 'ended early, worse than the median'
        except TrainingError as error:
            outcome = f'failed: {error}'
            task.trial.set_user_attr('reason', str(error))
        except UpdateFinishedTrialError:
            outcome = 'counted as dead; another process has it'
        finally:
            with suppress(UpdateFinishedTrialError):
                task.trial.set_user_attr('seconds', round(time.monotonic() - began, 1))
                self.study.tell(task.trial, top1, state, skip_if_finished=True)
        print(f'{task.point.name}: {outcome}', flush=True)

    @contextmanager
    def _alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Send heartbeats; a database that is away for a moment is no reason to end."""
        over = Event()

        def beat() -> None:
            while not over.wait(storage.HEARTBEAT):
                with suppress(*storage.AWAY):
                    self.storage.record_heartbeat(self._id(trial))

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _id(self, trial: optuna.Trial) -> int:
        number = trial.number
        return int(self.storage.get_trial_id_from_study_id_trial_number(self.id, number))


def brief(values: Mapping[str, Value]) -> str:
    """Return the values of a point for people."""
    return ', '.join(
        f'{name.split(".")[-1]} {f"{value:.4g}" if isinstance(value, float) else value}'
        for name, value in values.items()
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make ``folder`` and hold its lock, which the processes of this machine share."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('a', encoding='utf-8') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _has(attempts: Sequence[FrozenTrial], state: TrialState) -> bool:
    return any(trial.state == state for trial in attempts)


def _row(point: Point, attempts: Sequence[FrozenTrial], names: Iterable[str]) -> dict[str, Any]:
    """Return what is known of a point: its values of these names, its result or last attempt."""
    none = optuna.trial.create_trial(state=TrialState.WAITING)
    last = next((t for t in attempts if t.state != TrialState.FAIL), (none, *attempts)[-1])
    values, known, state = {**point.values, **last.params}, last.user_attrs, last.state.name
    if state == 'FAIL' and 'reason' not in known:
        state = 'WAITING'
    return {
        'trial': point.name,
        **{name: values.get(name) for name in names},
        **{name: known.get(name) for name in MEASURES},
        'seconds': sum(each.user_attrs.get('seconds', 0) for each in attempts),
        'state': state.lower().replace('fail', 'failed'),
        'reason': known.get('reason'),
    }
