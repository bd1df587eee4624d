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
Run the SqueezeNet paper's experiments on pictures of 32x32 pixels; write their table and plot.

Each run has a folder of its own. Give the same command again to continue after an interruption;
runs that failed are tried again. Give it several times at once to share the runs, on several
machines with --storage and the same folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from training.data.archive import Archive
from training.errors import DataError, TrainingError
from training.experiments import engine, reports, runs
from training.experiments.paper import (
    EXPERIMENTS,
    RECIPE,
    Experiment,
    begin,
    recipe_epochs,
    untrained,
)
from training.experiments.timing import forward_ms, step_ms
from training.reporting import command
from training.reporting.command import at_least_one

EXAMPLES = """\
examples:
  python -m training.reproduce cifar10.zip
  python -m training.reproduce cifar10.zip --list
  python -m training.reproduce cifar10.zip --table
  python -m training.reproduce cifar10.zip --times
  python -m training.reproduce cifar10.zip --only bypass depth --epochs 12 -o runs/longer
  python -m training.reproduce cifar10.zip --only "75 % 3x3" "simple bypass" --seeds 1
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.reproduce', __doc__ or '', EXAMPLES)
    groups = list(dict.fromkeys(experiment.group for experiment in EXPERIMENTS))
    parser.add_argument('data', metavar='ZIP_OR_FOLDER', type=Path)
    parser.add_argument(
        '--only',
        nargs='+',
        choices=[*groups, *(experiment.name for experiment in EXPERIMENTS)],
        metavar='GROUP_OR_ROW',
        default=groups,
        help=f'what to run: groups of rows ({", ".join(groups)}), or rows by their names in the '
        'table, which always has all rows that are done',
    )
    parser.add_argument('--seeds', type=at_least_one, default=3, help='at most, for each row')
    parser.add_argument(
        '--epochs',
        type=at_least_one,
        default=recipe_epochs(),
        help='of each run (default: %(default)s)',
    )
    runs.add_options(parser, 'runs/experiments')
    parser.add_argument('--list', action='store_true', help='only list the runs and their states')
    parser.add_argument(
        '--table', action='store_true', help='only write the table of what is done'
    )
    parser.add_argument(
        '--times',
        action='store_true',
        help='only time the networks, untrained, for the table: times.csv',
    )
    return command.run(_reproduce, parser.parse_args(arguments))


def _reproduce(options: argparse.Namespace) -> None:
    output = options.output or Path('runs/experiments')
    labels = tuple(Archive(options.data).classes('train'))
    only = set(options.only)
    chosen = [each for each in EXPERIMENTS if only & {each.group, each.name}]
    if options.times:
        write_times(chosen, labels, output)
        return
    points = {each: each.points(options.epochs) for each in EXPERIMENTS}
    wanted = [point for each in chosen for point in points[each][: options.seeds]]
    names = dict.fromkeys([*(p.needs for p in wanted if p.needs), *(p.name for p in wanted)])
    line = ['--config', str(RECIPE), runs.argument('data.path', str(options.data))]
    runner = runs.Runner(line, options.threads, partial(begin, options.data))
    looking = options.list or options.table
    settings = None if looking else {**runner.settings({}), 'epochs': options.epochs}
    study = engine.Study(output, [*chain(*points.values())], settings, options.storage)
    if not looking:
        study.work(runner, [*names], options.jobs)
    rows = {row['trial']: row for row in study.rows()}
    if options.list:
        print(*(f'{rows[name]["state"]:9} {output / name}' for name in names), sep='\n')
        return
    done = {
        each: own
        for each in EXPERIMENTS
        if (own := [rows[p.name] for p in points[each] if rows[p.name]['state'] == 'complete'])
    }
    if done:
        print(reports.write_table(done, output))
    elif looking:
        raise DataError(f'no run in {output} is done; leave out --table')
    missing = [rows[name] for name in names if rows[name]['state'] != 'complete']
    if missing and not looking:
        why = missing[0]['reason'] or 'it begins with a run that failed'
        raise TrainingError(
            f'{len(missing)} of {len(names)} runs are not done, the first: '
            f'{output / missing[0]["trial"]}: {why}'
        )


def write_times(experiments: Sequence[Experiment], labels: tuple[str, ...], output: Path) -> None:
    """Time the networks that no result decides on, in turns; write times.csv and print it."""
    chosen = [each for each in experiments if not each.wide and each.longer == 1]
    if not chosen:
        raise DataError('these rows have no networks of their own to time; choose others')
    learners = [untrained(each, labels) for each in chosen]
    times = zip(chosen, forward_ms(learners), step_ms(learners), strict=True)
    rows = [
        dict(zip(('experiment', *reports.TIMES), (each.name, *found), strict=True))
        for each, *found in times
    ]
    output.mkdir(parents=True, exist_ok=True)
    command.write_csv(rows, output / 'times.csv')
    print(f'{"milliseconds for a picture":32} {"forward":>8} {"training":>8}')
    for name, forward, step in (row.values() for row in rows):
        print(f'{name:32} {forward:8.2f} {step:8.2f}')


if __name__ == '__main__':
    sys.exit(main())
