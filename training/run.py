# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""One experiment with one seed: trained in a process of its own, measured, and kept."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from sqz_perception.errors import DataError, TrainingError
from training.architecture import Architecture
from training.command import Row, replacing
from training.cost import measure
from training.experiments import BASE, SEEDS, Experiment
from training.learner import Learner, load
from training.metrics import epochs
from training.prune import WIDENED
from training.sensitivity import scan, validation, widened, widenings

RECIPE = Path(__file__).parent / 'recipes' / 'experiments.yaml'
RESULT, LAST = 'result.json', 'last.ckpt'
TRAININGS: set[subprocess.Popen[bytes]] = set()  # that run now
DENSITY = 0.5  # of the sensitivity scan, the paper's


@dataclass(frozen=True)
class Run:
    """One experiment with one seed, of so many epochs, in a folder under ``root``."""

    experiment: Experiment
    seed: int
    root: Path
    epochs: int  # of the recipe

    @property
    def folder(self) -> Path:
        """Where the run leaves its checkpoints, its metrics, its log and its result."""
        name = self.experiment.name.replace(' ', '-').replace(',', '').replace('%', 'pct')
        return self.root / name / f'seed{self.seed}'

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return (self.folder / RESULT).is_file()

    def row(self) -> Row:
        """Return the result of a run that is done."""
        result = json.loads((self.folder / RESULT).read_text(encoding='utf-8'))
        return {**result, 'group': self.experiment.group}

    def check(self) -> None:
        """Raise DataError where the folder holds a run of another number of epochs."""
        epochs = self.epochs * self.experiment.longer
        if self.done and self.row()['epochs'] != epochs:
            raise DataError(
                f'{self.folder} holds a run of {self.row()["epochs"]} epochs, not {epochs}; '
                'choose another folder with -o'
            )

    @property
    def checkpoint(self) -> Path:
        """Its network, as it is now."""
        return self.folder / LAST

    @property
    def needs(self) -> Run | None:
        """
        Return the base's run that must be done before.

        An experiment of more epochs goes on from the same seed; what to widen is read from the
        sensitivity of the first seed, for all seeds alike.
        """
        if self.experiment.wide:
            return Run(BASE, SEEDS[0], self.root, self.epochs)
        if self.experiment.longer > 1:
            return Run(BASE, self.seed, self.root, self.epochs)
        return None

    def arguments(self, data: Path) -> list[str]:
        """Return the command line of training.train."""
        values: dict[str, object] = {
            'data.path': data,
            'seed_everything': self.seed,
            'trainer.default_root_dir': self.folder,
            'trainer.max_epochs': self.epochs * self.experiment.longer,
            **self.experiment.changes,
        }
        if self.needs and self.experiment.wide:
            found = widening(self.needs.checkpoint, data)
            values['model.architecture.widen'] = json.dumps(found)
        if self.checkpoint.exists():
            values['ckpt_path'] = self.checkpoint
        elif self.needs and self.experiment.longer > 1:
            values['ckpt_path'] = self.needs.checkpoint
        return ['--config', str(RECIPE), *(f'--{name}={value}' for name, value in values.items())]

    def carry_out(self, data: Path, threads: int) -> Row:
        """Train and measure; keep the result and return it. Raises TrainingError."""
        if self.needs and not self.needs.done:
            raise TrainingError(
                f'{self.folder} begins with {self.needs.folder}, which is not done; its log.txt '
                'may say why; run it again first'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._train(data, threads)
        result = {
            'experiment': self.experiment.name,
            'seed': self.seed,
            **outcome(self.folder),
            **costs(self.checkpoint),
        }
        with replacing(self.folder / RESULT) as new:
            new.write_text(json.dumps(result, indent=1), encoding='utf-8')
        return result

    def _train(self, data: Path, threads: int) -> None:
        log = self.folder / 'log.txt'
        with log.open('a', encoding='utf-8') as output:
            try:
                # The lock passes to the training and lasts as long, though this process may not.
                fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingError(
                    f'{self.folder} is being trained by another process; wait for it, or end it'
                ) from None
            training = subprocess.Popen(
                [sys.executable, '-m', 'training.train', *self.arguments(data)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **({'OMP_NUM_THREADS': str(threads)} if threads else {})},
            )
            TRAININGS.add(training)
            code = training.wait()
            TRAININGS.discard(training)
        if code:
            said = log.read_text(encoding='utf-8').strip().splitlines() or ['nothing']
            raise TrainingError(f'{self.folder}: training.train said: {said[-1]}')


def end_trainings() -> None:
    """Tell all trainings of this process to end; the threads that wait for them go on."""
    for training in list(TRAININGS):
        training.terminate()


def outcome(folder: Path) -> Row:
    """Return what the metrics in ``folder`` end with."""
    rows = epochs(folder / 'metrics.csv')
    last = [row for row in rows if 'val/top1' in row][-1]
    return {
        'epochs': int(last['epoch']) + 1,
        'top1': 100 * last['val/top1'],
        'top5': 100 * last['val/top5'],
        'loss': last['val/loss'],
    }


def widening(checkpoint: Path, data: Path) -> dict[str, float]:
    """Return which expand layers to widen, by a scan of ``checkpoint`` on the validation data."""
    learner = load(str(checkpoint))
    architecture = learner.net.architecture
    pictures = validation(learner, str(data))
    found = widenings(scan(learner, pictures, [DENSITY]), DENSITY, architecture)
    return widened(architecture, [row.layer for row in found[:WIDENED]])


def costs(checkpoint: Path) -> Row:
    """Return the parameters, bytes in fp32 and multiply-adds of a checkpoint's network."""
    learner = load(str(checkpoint))
    cost = measure(learner.net, learner.description['size'])
    return {
        'parameters': cost.parameters,
        'bytes': 4 * cost.parameters,
        'macs': cost.macs,
    }


def untrained(experiment: Experiment, labels: tuple[str, ...]) -> Learner:
    """Return the network of an experiment as it is before the first step."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding='utf-8'))
    prefix, changes = 'model.architecture.', experiment.changes
    changed = {k.removeprefix(prefix): v for k, v in changes.items() if k.startswith(prefix)}
    architecture = Architecture(**{**recipe['model']['architecture'], **changed})
    baseline = changes.get('model.baseline')
    name = None if baseline is None else str(baseline)
    return Learner(architecture, labels, recipe['data']['size'], name)
