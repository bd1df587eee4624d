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
"""Write what a study has found: results.csv and plots of a sweep, the table of the paper."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib
import numpy as np
import optuna
from matplotlib import pyplot

from training.experiments.engine import Study, brief, locked
from training.experiments.paper import Experiment
from training.reporting import plots
from training.reporting.command import Row, write_csv

SEED = 'seed_everything'  # its values are runs of one network
TIMES = ('forward_ms', 'step_ms')
HEAD = (
    '| experiment | epochs | top-1, % | parameters | MB, fp32 | MMACs '
    '| forward, ms | training, ms | paper |\n' + 9 * '| --- ' + '|\n'
)


def write_sweep(study: Study) -> None:
    """Write results.csv, size.png and parameters.png, one process at a time."""
    with locked(study.folder):
        rows = study.rows()
        write_csv(rows, study.folder / 'results.csv')
        done = [row for row in rows if row['state'] == 'complete']
        if not done:
            return
        plots.size_against_accuracy(points(done, [*study.space]), study.folder / 'size.png')
        matplotlib.use('agg')  # in no window
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of a parameter with one value
            slices = optuna.visualization.matplotlib.plot_slice(study.study, target_name='top-1')
        panels = np.ravel(slices)
        for panel in panels:
            panel.set_xlabel(panel.get_xlabel().split('.')[-1])
        panels[0].figure.savefig(study.folder / 'parameters.png', bbox_inches='tight')
        pyplot.close(panels[0].figure)


def points(rows: Sequence[Row], names: Sequence[str]) -> list[plots.Point]:
    """Return a point for each network, over its seeds, labelled with its values."""
    same: dict[str, list[Row]] = {}
    for row in rows:
        same.setdefault(brief({name: row[name] for name in names if name != SEED}), []).append(row)
    return [_point(label, own) for label, own in same.items()]


def write_table(rows: Mapping[Experiment, Sequence[Row]], folder: Path) -> str:
    """Write runs.csv, experiments.md and experiments.png; return the table."""
    write_csv([row for own in rows.values() for row in own], folder / 'runs.csv')
    plots.size_against_accuracy(
        [_point(each.name, own, each.group) for each, own in rows.items()],
        folder / 'experiments.png',
        title='one change each, trained alike',
    )
    times = read_times(folder / 'times.csv')
    table = [_cells(each, own, times.get(each.name, {})) for each, own in rows.items()]
    text = HEAD + ''.join(f'| {" | ".join(cells)} |\n' for cells in table)
    (folder / 'experiments.md').write_text(text, encoding='utf-8')
    return text


def read_times(path: Path) -> dict[str, Row]:
    """Return the times of each experiment, where ``reproduce --times`` has written them."""
    if not path.exists():
        return {}
    with path.open(encoding='utf-8', newline='') as lines:
        return {row['experiment']: row for row in csv.DictReader(lines)}


def _point(label: str, rows: Sequence[Row], group: str = '') -> plots.Point:
    """Return the mean of ``rows`` and half of their range."""
    top1 = [100 * row['val/top1'] for row in rows]
    spread = (max(top1) - min(top1)) / 2
    return plots.Point(label, rows[0]['parameters'], fmean(top1), spread, group)


def _cells(experiment: Experiment, rows: Sequence[Row], times: Row) -> list[str]:
    top1 = [100 * row['val/top1'] for row in rows]
    spread = f' ({min(top1):.1f} to {max(top1):.1f})' if len(rows) > 1 else ''
    return [
        experiment.name,
        f'{rows[0]["epochs"]}',
        f'{fmean(top1):.1f}{spread}',
        f'{rows[0]["parameters"]:,}',
        f'{4 * rows[0]["parameters"] / 1e6:.2f}',
        f'{rows[0]["macs"] / 1e6:.1f}',
        *(f'{float(times[key]):.2f}' if key in times else '' for key in TIMES),
        experiment.paper,
    ]
