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
"""Train one point by training.train in a process of its own, and measure its network."""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any, TextIO

import optuna
import yaml

from sqz_perception.inference.options import count
from training.errors import CheckpointInvalid, DataError, SweepInvalid, TrainingError
from training.experiments.engine import POLL, Task, Value
from training.experiments.storage import AWAY, LONGEST
from training.fitting import processes
from training.fitting.learner import load
from training.model_files.checkpoints import load_content
from training.networks.cost import measure
from training.reporting.command import at_least_one
from training.reporting.masking import masked
from training.reporting.metrics import epochs

COMMAND = (sys.executable, '-m', 'training.train')
LAST = 'last.ckpt'
TOLD = {-SIGINT, -SIGTERM, 128 + SIGINT, 128 + SIGTERM}  # exit codes of one that was told to end
PR_SET_PDEATHSIG = 1
PATIENCE = 60  # seconds until a training that was told to end is killed
# Values that may differ between the machines of one study.
MACHINE = {
    'data.path',
    'data.workers',
    'trainer.accelerator',
    'trainer.default_root_dir',
    'trainer.devices',
    'trainer.enable_model_summary',
    'trainer.enable_progress_bar',
}


@dataclass(frozen=True)
class Runner:
    """Trains tasks, all with ``arguments``; ``begin`` gives the values that a result decides."""

    arguments: list[str]
    threads: int = 0  # of each run; 0: all
    begin: Callable[[Task], Mapping[str, Value]] = lambda _: {}

    def settings(self, varied: Mapping[str, Value]) -> dict[str, object]:
        """
        Return the values of the recipe that are not varied, by their dotted names.

        Raises SweepInvalid for a recipe, options or varied values that training.train refuses.
        """
        if processes.started():
            raise SweepInvalid('a run has one process; start the command without torchrun')
        line = [*COMMAND, *self.arguments, *(argument(*value) for value in varied.items())]
        found = subprocess.run([*line, '--print_config'], capture_output=True, text=True)
        if found.returncode:
            raise SweepInvalid(_last_error(found.stderr, found.returncode))
        given = MACHINE | varied.keys()
        return {
            name: value
            for name, value in _flat(yaml.safe_load(found.stdout)).items()
            if not any(f'{name}.'.startswith(f'{each}.') for each in given)
        }

    def __call__(self, task: Task) -> float | None:
        """Train, from the last checkpoint of an earlier attempt; see engine.Train."""
        values = {**task.values, **self.begin(task), 'trainer.default_root_dir': str(task.folder)}
        if task.again and _usable(task.folder / LAST):
            values['ckpt_path'] = str(task.folder / LAST)
        task.folder.mkdir(parents=True, exist_ok=True)
        with (task.folder / 'log.txt').open('a+', encoding='utf-8', errors='replace') as log:
            begin = log.tell()
            process = self._start([argument(*value) for value in values.items()], log)
            pruned = _watch(process, task)
            log.seek(begin)
            told = log.read()
        if process.returncode in TOLD and not pruned:
            return None
        if process.returncode and not pruned:
            raise TrainingError(_last_error(told, process.returncode))
        measures = outcome(task.folder)
        for name, value in measures.items():
            task.trial.set_user_attr(name, value)
        if pruned:
            raise optuna.TrialPruned
        return measures['val/top1']

    def _start(self, values: list[str], log: TextIO) -> subprocess.Popen[bytes]:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the training keeps it
        except BlockingIOError:
            raise TrainingError(f'another training writes {log.name}; end it') from None
        threads = {'OMP_NUM_THREADS': f'{self.threads}'} if self.threads else {}
        return subprocess.Popen(
            [*COMMAND, *self.arguments, *values],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **threads},
            # Whatever ends this process ends its training too.
            preexec_fn=partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, SIGTERM),
        )


def add_options(to: argparse.ArgumentParser, output: str) -> None:
    """Ask for what all studies need; ``output`` describes the default folder."""
    to.add_argument(
        '-o', '--output', '--out', type=Path, metavar='FOLDER', help=f'default: {output}'
    )
    to.add_argument(
        '--storage', metavar='URL', help='the database of all machines; default: OUTPUT/study.db'
    )
    to.add_argument('--jobs', type=at_least_one, default=1, help='runs at a time')
    to.add_argument('--threads', type=count, default=0, help='of each run; 0: all')


def argument(name: str, value: Value) -> str:
    """Return what gives ``value`` to training.train."""
    return f'--{name}={value if isinstance(value, str) else json.dumps(value)}'


def outcome(folder: Path) -> dict[str, float]:
    """Return the last epoch's validation and the cost of the network. Raises TrainingError."""
    rows = [row for row in epochs(folder / 'metrics.csv') if 'val/top1' in row]
    if not rows:
        raise TrainingError('no epoch was validated; leave out the options that prevent it')
    learner = load(str(folder / LAST))
    cost = measure(learner.net, learner.description.size)
    validated = {name: round(value, 6) for name, value in rows[-1].items() if 'val/' in name}
    count = int(rows[-1]['epoch']) + 1
    return {**validated, 'epochs': count, 'parameters': cost.parameters, 'macs': cost.macs}


def _watch(process: subprocess.Popen[bytes], task: Task) -> bool:
    """Wait for a training, or end it; return whether it was for the study's pruner."""
    pruned = False
    try:
        while process.poll() is None and not pruned and not task.stop.is_set():
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
            with suppress(DataError, OSError, *AWAY):  # metrics that are just being written
                _report(task)
                pruned = process.poll() is None and bool(task.trial.should_prune())
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()
    return pruned


def _report(task: Task) -> None:
    """Tell the study the accuracy of each new epoch."""
    trials = task.trial.study.get_trials(deepcopy=False)
    known = trials[task.trial.number].intermediate_values
    for row in epochs(task.folder / 'metrics.csv'):
        if 'val/top1' in row and int(row['epoch']) not in known:
            task.trial.report(row['val/top1'], int(row['epoch']))


def _usable(checkpoint: Path) -> bool:
    """Return whether to go on from a checkpoint; not where the process died as it wrote it."""
    try:
        load_content(checkpoint)
    except CheckpointInvalid:
        return False
    return True


def _flat(values: Any, prefix: str = '') -> dict[str, object]:
    """Return nested mappings as one, the keys joined by dots."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= _flat(value, f'{prefix}.{key}' if prefix else key)
    return found


def _last_error(text: str, code: int) -> str:
    """Return in one line what a process ended with."""
    if code < 0:
        return f'ended by {Signals(-code).name}'
    lines = text.strip().splitlines() or [f'exit code {code}']
    last = max((i for i, line in enumerate(lines) if line.startswith('error: ')), default=-1)
    told = ' '.join(' '.join(lines[last:]).split()).removeprefix('error: ')
    return masked(told)[:LONGEST]
