# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a sweep has found so far: a table and two plots."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from training import plots
from training.command import Row, write_csv
from training.study import Study, locked
from training.sweep import SEED, Range, Value, shown


def write(study: Study) -> None:
    """Write results.csv and the plots anew, one process at a time."""
    with locked(study.folder):
        rows, names = study.rows(), [*study.sweep.space]
        write_csv(rows, study.folder / 'results.csv')
        done = [row for row in rows if row['state'] == 'complete']
        if not done:
            return
        ranges = {n: t for n, t in study.sweep.space.items() if isinstance(t, Range)}
        plots.by_parameter(
            done,
            names,
            study.folder / 'parameters.png',
            continuous=[*ranges],
            logarithmic=[name for name, tried in ranges.items() if tried.log],
        )
        plots.size_against_accuracy(points(done, names), study.folder / 'size.png')


def points(rows: Sequence[Row], names: Sequence[str]) -> list[plots.Point]:
    """
    Return a point for each network of ``rows``: the mean over seeds, where those were varied.

    The first parameter is the colour, if it has few values; the others are the label.
    """
    names = [name for name in names if name != SEED]
    same: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        same.setdefault(tuple(row[name] for name in names), []).append(row)
    groups = {values[0] for values in same if values}
    grouped = len(names) > 1 and len(groups) <= plots.JOINED
    found = []
    for values, own in same.items():
        named = dict(zip(names, values, strict=True))
        first = {names[0]: named.pop(names[0])} if grouped else {}
        accuracies = [100 * row['val/top1'] for row in own]
        found.append(
            plots.Point(
                label=shown(named) if len(named) < 3 else f'trial {own[0]["trial"]}',
                size=own[0]['parameters'],
                accuracy=fmean(accuracies),
                spread=stdev(accuracies) if len(own) > 1 else 0.0,
                group=shown(first),
            )
        )
    return found
