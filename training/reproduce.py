# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Run the paper's experiments on pictures of 32x32 pixels; write their table and their plots.

Each run has a folder of its own and is done once: a call that was ended is given again and goes
on where it stopped. The table says how many epochs each run had.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml
from tqdm import tqdm

from sqz_perception.errors import DataError, TrainingError
from sqz_perception.inference.options import count
from training import command, plots, report
from training.archive import Archive
from training.command import Row, at_least_one
from training.experiments import Experiment, every
from training.learner import Learner, load
from training.run import RECIPE, Run, end_trainings, untrained
from training.timing import forward_ms, step_ms

EXAMPLES = """\
examples:
  python -m training.reproduce cifar10.zip
  python -m training.reproduce cifar10.zip --list
  python -m training.reproduce cifar10.zip --table
  python -m training.reproduce cifar10.zip --times
  python -m training.reproduce cifar10.zip --only bypass depth --epochs 12 -o runs/longer
  python -m training.reproduce cifar10.zip --only "75 % 3x3" "simple bypass" --seeds 1
"""

RUNS = 'runs.csv'
TIMES = ('forward_ms', 'step_ms')


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.reproduce', __doc__ or '', EXAMPLES)
    groups = list(dict.fromkeys(experiment.group for experiment in every()))
    parser.add_argument('data', metavar='ZIP_OR_FOLDER', type=Path)
    parser.add_argument('-o', '--output', type=Path, default=Path('runs/experiments'))
    parser.add_argument(
        '--only',
        nargs='+',
        choices=[*groups, *(experiment.name for experiment in every())],
        metavar='GROUP_OR_ROW',
        default=groups,
        help=f'what to run: groups of rows ({", ".join(groups)}), or rows by their names in the '
        'table, which tells of all that are done',
    )
    parser.add_argument(
        '--seeds', type=at_least_one, default=3, help='at most, for each experiment'
    )
    parser.add_argument('--epochs', type=at_least_one, help="of each run, instead of the recipe's")
    parser.add_argument('--jobs', type=at_least_one, default=1, help='runs at a time')
    parser.add_argument('--threads', type=count, default=0, help='of each run; 0: all')
    parser.add_argument(
        '--table',
        action='store_true',
        help='only tell of the runs that are done; begin none. Times are kept from the last table '
        '(runs.csv) if it has these networks; delete it to measure them anew',
    )
    parser.add_argument(
        '--times', action='store_true', help='only time the networks, with random weights'
    )
    parser.add_argument('--list', action='store_true', help='what there is to run, and end')
    return command.run(_reproduce, parser.parse_args(arguments))


def _reproduce(options: argparse.Namespace) -> None:
    only = set(options.only)
    experiments = [each for each in every() if only & {each.group, each.name}]
    if options.times:
        tell_times(experiments, options)
        return
    epochs = options.epochs or recipe_epochs()
    runs = with_needed(
        [run for each in experiments for run in runs_of(each, options, epochs)[: options.seeds]]
    )
    if options.list:
        print(*(f'{"done" if run.done else "open"}  {run.folder}' for run in runs), sep='\n')
        return
    Archive(options.data).classes('train')  # refused before the first run, not in each
    # A table of the chosen alone would replace that of all.
    told = [run for each in every() for run in runs_of(each, options, epochs)]
    for run in told:
        run.check()
    begun = [] if options.table else [run for run in runs if not run.done]
    with command.ended_by_sigterm():
        failed = carry_out(begun, options)
    done = [run for run in told if run.done]
    if options.table and not done:
        raise DataError(f'no run in {options.output} is done; leave out --table')
    if done:
        tell(done, options.output)
    if failed:
        raise TrainingError(f'{len(failed)} of {len(runs)} runs failed; the first: {failed[0]}')


def runs_of(experiment: Experiment, options: argparse.Namespace, epochs: int) -> list[Run]:
    """Return the runs of an experiment, one for each of its seeds."""
    return [Run(experiment, seed, options.output, epochs) for seed in experiment.seeds]


def with_needed(runs: Sequence[Run]) -> list[Run]:
    """Return ``runs`` and, before them, those of the base that they begin with."""
    needed = {run.needs.folder: run.needs for run in runs if run.needs}
    return list({**needed, **{run.folder: run for run in runs}}.values())


def recipe_epochs() -> int:
    """Return how many epochs the recipe has."""
    return int(yaml.safe_load(RECIPE.read_text(encoding='utf-8'))['trainer']['max_epochs'])


def carry_out(runs: Sequence[Run], options: argparse.Namespace) -> list[str]:
    """Carry out ``runs``, those first that others need, and return why some failed."""
    failed: list[str] = []
    with tqdm(total=len(runs), unit=' runs') as bar:
        for waits in (False, True):
            now = [run for run in runs if bool(run.needs) == waits]
            failed += _together(now, options, bar)
    return failed


def _together(runs: Sequence[Run], options: argparse.Namespace, bar: tqdm) -> list[str]:
    """Carry out ``runs``, some at a time. Interrupted, it begins no other."""
    failed: list[str] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        begun = {pool.submit(run.carry_out, options.data, options.threads): run for run in runs}
        try:
            for ended in as_completed(begun):
                bar.update()
                try:
                    row = ended.result()
                except TrainingError as error:
                    failed.append(str(error))
                    bar.write(f'failed: {error}')
                    continue
                bar.write(f'{row["experiment"]}, seed {row["seed"]}: {row["top1"]:.2f} %')
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_trainings()
            raise
    return failed


def tell_times(experiments: Sequence[Experiment], options: argparse.Namespace) -> None:
    """Measure the networks that no training decides on, in turns, and write times.csv."""
    labels = tuple(Archive(options.data).classes('train'))
    chosen = [each for each in experiments if not each.wide and each.longer == 1]
    if not chosen:
        raise DataError(
            'these rows have no network of their own to time; choose others with --only'
        )
    options.output.mkdir(parents=True, exist_ok=True)
    found = times({each.name: untrained(each, labels) for each in chosen})
    rows: list[Row] = [{'experiment': name, **row} for name, row in found.items()]
    command.write_csv(rows, options.output / 'times.csv')
    print(f'{"milliseconds for a picture":32} {"forward":>8} {"training":>8}')
    for row in rows:
        print(f'{row["experiment"]:32}', *(f'{row[key]:8.2f}' for key in TIMES))


def times(learners: Mapping[str, Learner]) -> dict[str, Row]:
    """Return what each network takes for a picture, milliseconds, all measured in turns."""
    each = [*learners.values()]
    measured = zip(learners, forward_ms(each), step_ms(each), strict=True)
    return {name: dict(zip(TIMES, found, strict=True)) for name, *found in measured}


def times_of_before(table: Path, names: Collection[str]) -> dict[str, Row]:
    """Return the times that ``table``, maybe an earlier one, has of these experiments."""
    try:
        with table.open(encoding='utf-8', newline='') as file:
            rows = [row for row in csv.DictReader(file) if row['experiment'] in names]
        return {row['experiment']: {key: float(row[key]) for key in TIMES} for row in rows}
    except (FileNotFoundError, KeyError, TypeError, ValueError, csv.Error):
        return {}  # none, or not as this version writes it: it is written anew


def tell(runs: Sequence[Run], folder: Path) -> None:
    """Write tables and plots of ``runs`` into ``folder``."""
    checkpoints = {run.experiment.name: str(run.checkpoint) for run in runs}
    found = times_of_before(folder / RUNS, checkpoints)
    if found.keys() != checkpoints.keys():  # only what was measured in turns can be compared
        found = times({name: load(path) for name, path in checkpoints.items()})
    rows = [{**run.row(), **found[run.experiment.name]} for run in runs]
    summaries = report.summarise(rows)
    paper = {run.experiment.name: run.experiment.paper for run in runs}
    command.write_csv(rows, folder / RUNS)
    command.write_csv(summaries, folder / 'experiments.csv')
    plots.size_against_accuracy(
        [point(row) for row in summaries],
        folder / 'experiments.png',
        title='one change each, trained alike',
    )
    table = folder / 'experiments.md'
    table.write_text(report.markdown(summaries, paper), encoding='utf-8')
    print(table.read_text(encoding='utf-8'))


def point(row: Row) -> plots.Point:
    """Return an experiment as it is drawn, with its spread over the seeds."""
    spread = (row['highest'] - row['lowest']) / 2
    return plots.Point(row['experiment'], row['parameters'], row['top1'], spread, row['group'])


if __name__ == '__main__':
    sys.exit(main())
