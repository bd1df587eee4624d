# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Train a recipe again and again with other values of its metaparameters, and compare.

The sweep file says what is tried (training/sweep.py). Each trial is one run of training.train in a
folder of its own, and gets all options that are not of this command. After each, results.csv and
the plots parameters.png and size.png in the sweep's folder are written anew; a trial's accuracy is
that of its last epoch. Run the same command again to go on with a sweep that was interrupted; run
it several times at once, also on other machines that see the same folder or database, to share
the work.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import torch
import yaml
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from sqlalchemy.exc import SQLAlchemyError

from sqz_perception.errors import (
    CheckpointInvalid,
    CompressionFailed,
    SweepInvalid,
    TrainingDiverged,
    TrainingError,
)
from training import command, results, train
from training.cost import measure
from training.export import load_description
from training.metrics import epochs
from training.study import CHECKPOINT, Study, Task
from training.sweep import SEED, Range, Sweep, argument, read, shown

EXAMPLES = """\
examples:
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip \\
      --out runs/explore/short --trainer.limit_train_batches 100
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip \\
      --storage postgresql://sweeps@workstation/optuna
"""
# What may differ between the machines that share a sweep: where and how fast, not what.
MACHINE = (
    'data.path',
    'data.workers',
    'trainer.accelerator',
    'trainer.default_root_dir',
    'trainer.devices',
    'trainer.enable_model_summary',
    'trainer.enable_progress_bar',
)
DIGITS = 6  # of what is noted of accuracies and losses
ENDS_TRIAL = (TrainingDiverged, CompressionFailed, torch.OutOfMemoryError)


@dataclass(frozen=True)
class Line:
    """The command line of training.train that all trials share."""

    arguments: list[str]

    def prepared(self, *more: str) -> train.Cli:
        """Return data, network and trainer with ``more`` arguments. Raises TrainingError."""
        try:
            return train.prepared([*self.arguments, *more], exit_on_error=False)
        except (argparse.ArgumentError, MisconfigurationException) as error:
            raise SweepInvalid(_one_line(error)) from error

    def settings(self, sweep: Sweep) -> dict[str, object]:
        """
        Return all values of the recipe that decide what a trial gives, by name.

        Raises TrainingError for a recipe or options that can't be trained, and SweepInvalid for
        a space of names that the recipe has not or of values that they can't have.
        """
        cli = self.prepared()
        for name, tried in sweep.space.items():
            if name not in cli.config and not name.startswith('trainer.callbacks.'):
                raise SweepInvalid(_unknown(name, [*cli.config.keys(branches=True)]))
            for value in (tried.low, tried.high) if isinstance(tried, Range) else tried:
                try:
                    cli.parser.parse_args([*self.arguments, argument(name, value)])
                except argparse.ArgumentError as error:
                    raise SweepInvalid(f'{name} {value}: {_one_line(error)}') from error
        values = _flat(yaml.safe_load(cli.parser.dump(cli.config)))
        return {name: value for name, value in values.items() if name not in MACHINE}


class Reporter(Callback):
    """Tells the study the validation accuracy of each epoch and ends a hopeless trial."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise TrialPruned where the study's pruner says so."""
        if trainer.sanity_checking:
            return
        top1 = float(trainer.callback_metrics['val/top1'])
        self.trial.report(top1, trainer.current_epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.explore', __doc__ or '', EXAMPLES)
    parser.usage = (
        '%(prog)s SWEEP.yaml --data.path ZIP_OR_FOLDER [options, also of training.train]'
    )
    parser.add_argument('sweep', metavar='SWEEP.yaml', type=Path)
    parser.add_argument(
        '--out', type=Path, metavar='FOLDER', help='default: runs/explore/ and the name of SWEEP'
    )
    parser.add_argument(
        '--storage', metavar='URL', help='a database for the study; default: OUT/study.log'
    )
    options, others = parser.parse_known_args(arguments)
    options.training = others
    train.quiet()
    return command.run(_explore, options)


def _explore(options: argparse.Namespace) -> None:
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        raise SweepInvalid('a trial is trained by one process; start several without torchrun')
    sweep = read(options.sweep)
    out = options.out or Path('runs/explore') / options.sweep.stem
    own = (argument('trainer.max_epochs', sweep.epochs), argument(SEED, sweep.seed))
    root = argument('trainer.default_root_dir', str(out))
    line = Line(['--config', str(sweep.recipe), *options.training, *own, root])
    settings = line.settings(sweep)
    study = Study(sweep, settings, out, options.storage)
    try:
        results.write(study)
        while (task := study.take()) is not None:
            attempt(study, task, line)
            results.write(study)
    except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
        raise SweepInvalid(
            f'{study.where} can no longer be used ({_one_line(error)}); run again to go on'
        ) from error
    except KeyboardInterrupt:
        print('interrupted; run the same command again to go on', file=sys.stderr)
        raise
    _conclude(study)


def attempt(study: Study, task: Task, line: Line) -> None:
    """
    Train one trial and record what came out.

    Whatever is not the trial's own fault is raised, and the trial waits again.
    """
    print(f'trial {task.number} of {study.sweep.total}: {shown(task.values)}', flush=True)
    try:
        _train(study, task, line)
    except SystemExit:  # Lightning's answer to a termination
        study.give_back(task)
        raise KeyboardInterrupt from None
    except BaseException:
        study.give_back(task)
        raise


def _train(study: Study, task: Task, line: Line) -> None:
    try:
        cli = line.prepared(*_arguments(task))
    except TrainingError as error:  # the recipe itself could be prepared
        study.fail(task, str(error))
        return
    cost = measure(cli.model.net, cli.model.description['size'])
    measures: dict[str, float] = {'parameters': cost.parameters, 'macs': cost.macs}
    study.note(task, measures)
    cli.trainer.callbacks.append(Reporter(task.trial))
    try:
        train.fit(cli)
    except ENDS_TRIAL as error:
        study.fail(task, _one_line(error))
        return
    except optuna.TrialPruned:
        study.note(task, _last(cli.metrics))
        study.prune(task)
        return
    study.note(task, _last(cli.metrics))
    study.finish(task)


def _arguments(task: Task) -> list[str]:
    """Return what a trial's own command line has beside the one of all."""
    values = [argument(name, value) for name, value in task.values.items()]
    values.append(argument('trainer.default_root_dir', str(task.folder)))
    last = task.folder / CHECKPOINT
    if not task.again or not last.exists():
        return values
    try:
        load_description(last)
    except CheckpointInvalid:  # the process ended while it wrote
        return values
    return [*values, argument('ckpt_path', str(last))]


def _last(metrics: Path) -> dict[str, float]:
    """Return the validation's figures of the last epoch. Raises SweepInvalid without any."""
    rows = [row for row in epochs(metrics) if 'val/top1' in row]
    if not rows:
        raise SweepInvalid('no epoch was validated; leave out the options that prevent it')
    return {name: round(rows[-1][name], DIGITS) for name in rows[-1] if name.startswith('val/')}


def _conclude(study: Study) -> None:
    """Say what came out. Raises SweepInvalid where no trial could be trained."""
    rows = study.rows()
    done = [row for row in rows if row['state'] == 'complete']
    if not done and all(row['state'] == 'failed' for row in rows):
        raise SweepInvalid(f'all {len(rows)} trials failed, the first: {rows[0]["reason"]}')
    states = Counter(row['state'] for row in rows)
    told = ', '.join(f'{count} {state}' for state, count in states.items())
    print(f'{study.folder / "results.csv"}: {told}')
    if done:
        best = max(done, key=lambda row: row['val/top1'])
        values = shown({name: best[name] for name in study.sweep.space})
        print(f'best: trial {best["trial"]}, top-1 {100 * best["val/top1"]:.2f} %, {values}')


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    meant = f'did you mean {close[0]}?' if close else 'its names are as in the recipe, with dots'
    return f'there is no {name} to vary; {meant}'


def _flat(values: object, name: str = '') -> dict[str, object]:
    """Return nested mappings as one, the keys joined by dots."""
    if not isinstance(values, dict) or not values:
        return {name: values}
    prefix = f'{name}.' if name else ''
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= _flat(value, f'{prefix}{key}')
    return flat


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())[:300] or type(error).__name__


if __name__ == '__main__':
    sys.exit(main())
