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
Train a recipe with many values of its metaparameters, and compare them.

A sweep file names the values to try: see training/experiments/sweep.py. Each trial is a run of
training.train in a folder of its own, with all options that are not of this command. After each
trial results.csv, parameters.png and size.png are written again. A trial's accuracy is that of
its last epoch. Give the same command again to continue after an interruption; trials that failed
are tried again. Give it several times at once to share the trials, on several machines with
--storage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from training.errors import DataError, SweepInvalid
from training.experiments import engine, reports, runs, sweep
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip \\
      -o runs/explore/short --trainer.limit_train_batches 100
  python -m training.explore training/recipes/sweep.yaml --data.path cifar10.zip \\
      --storage postgresql+psycopg://sweeps@workstation/optuna
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.explore', __doc__ or '', EXAMPLES)
    parser.usage = (
        '%(prog)s SWEEP.yaml --data.path ZIP_OR_FOLDER [options, also of training.train]'
    )
    parser.add_argument('sweep', metavar='SWEEP.yaml', type=Path)
    parser.add_argument('--data.path', dest='data', required=True, type=Path)
    runs.add_options(parser, 'runs/explore/ and the name of SWEEP')
    options, others = parser.parse_known_args(arguments)
    return command.run(partial(_explore, others), options)


def _explore(others: list[str], options: argparse.Namespace) -> None:
    if not options.data.exists():
        raise DataError(f'{options.data} does not exist; give the data with --data.path')
    tried = sweep.read(options.sweep)
    space = tried.tried()
    own = {
        'data.path': str(options.data),
        'seed_everything': tried.seed,
        'trainer.max_epochs': tried.epochs,
    }
    line = [runs.argument(*value) for value in own.items()]
    runner = runs.Runner(['--config', os.fspath(tried.recipe), *others, *line], options.threads)
    study = engine.Study(
        options.output or Path('runs/explore') / options.sweep.stem,
        tried.points(),
        {**runner.settings(tried.example()), **tried.settings()},
        options.storage,
        space=space,
        seed=tried.seed,
        pruner=tried.pruner(),
    )
    reports.write_sweep(study)
    study.work(runner, [*study.points], options.jobs, partial(reports.write_sweep, study))
    conclude(study)


def conclude(study: engine.Study) -> None:
    """Print what came out. Raises SweepInvalid where no trial could be trained."""
    rows = study.rows()
    states = Counter(row['state'] for row in rows)
    if states['failed'] == len(rows):
        raise SweepInvalid(f'all {len(rows)} trials failed, the first: {rows[0]["reason"]}')
    told = ', '.join(f'{count} {state}' for state, count in states.items())
    print(f'{study.folder / "results.csv"}: {told}')
    done = [row for row in rows if row['state'] == 'complete']
    if done:
        best = max(done, key=lambda row: row['val/top1'])
        values = engine.brief({name: best[name] for name in study.space})
        print(f'best: {best["trial"]}, top-1 {100 * best["val/top1"]:.2f} %, {values}')


if __name__ == '__main__':
    sys.exit(main())
