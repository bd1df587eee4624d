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
The plots that the commands of ``training`` share: plain rows in, a PNG out.

Each function also returns its figure, so that a notebook can show it and a test can ask it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from training.evaluation.reliability import BINS, bins, calibration_error
from training.reporting.metrics import epochs

if TYPE_CHECKING:
    from training.evaluation.robustness import Change, Right

DPI = 200
ROW = 8  # pictures
MARKERS = 'osD^vP*X'  # of groups, so that they differ without colour too
NUMBERED = 20  # classes at most of a confusion with a number in each cell
NAMED = 60  # classes at most whose names fit beside the axes
LABELLED = 30  # points at most that all have a label; of more, those of the front
ITERATIONS = 500  # of placing labels


@dataclass(frozen=True)
class Point:
    """A network in ``size_against_accuracy``."""

    label: str
    size: float  # above 0
    accuracy: float  # percent
    spread: float = 0.0  # to either side over seeds, percent; 0: not drawn
    group: str = ''  # points of one group have one colour


def curves(metrics: Path, path: Path) -> Figure:
    """Draw loss and top-1 of training and validation, and the learning rate, by epoch."""
    rows = epochs(metrics)
    figure = _figure(11, 3.5)
    loss, top1, rate = figure.subplots(1, 3)
    for axes, key, factor in ((loss, 'loss', 1), (top1, 'top1', 100)):
        for split, name in (('train', 'training'), ('val', 'validation')):
            at = [(row['epoch'] + 1, factor * value) for row, value in _of(rows, f'{split}/{key}')]
            axes.plot(*_columns(at), marker='.', label=name)
        axes.legend()
    for name in _rates(rows):
        at = [(row['epoch'], value) for row, value in _of(rows, name)]
        rate.plot(*_columns(at), marker='.', label=name.removeprefix('lr-'))
    if len(rate.lines) > 1:
        rate.legend()
    titles = {loss: 'loss', top1: 'top-1, %', rate: 'learning rate as the epoch begins'}
    for axes, title in titles.items():
        axes.set_title(title)
        axes.set_xlabel('epochs')
        axes.set_xlim(0, 1.02 * (rows[-1]['epoch'] + 1) if rows else 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return _saved(figure, path)


def pictures(images: NDArray[np.uint8], titles: Sequence[str], path: Path) -> Figure:
    """Draw pictures, (N, H, W, 3) in RGB order, each under its title, a row of eight at a time."""
    count, height, width, _ = images.shape
    rows = -(-count // ROW)
    figure = _figure(1.4 * ROW, (1.4 * height / width + 0.45) * rows)
    for axes in figure.subplots(rows, ROW, squeeze=False).flat:
        axes.axis('off')
    for axes, image, title in zip(figure.axes, images, titles, strict=False):
        axes.imshow(image)
        lines = [_short(line, 16) for line in title.splitlines()]
        axes.set_title('\n'.join(lines), fontsize='small', pad=3)
    return _saved(figure, path)


def size_against_accuracy(
    points: Sequence[Point],
    path: Path,
    *,
    size: str = 'parameters',
    accuracy: str = 'validation top-1, %',
    title: str = '',
) -> Figure:
    """Draw each point with its label over a logarithmic size, and the Pareto front."""
    figure = _figure(9, 7)
    axes = figure.subplots()
    axes.set_xscale('log')
    best = front(points)
    for i, group in enumerate(dict.fromkeys(point.group for point in points)):
        own = [point for point in points if point.group == group]
        axes.errorbar(
            [point.size for point in own],
            [point.accuracy for point in own],
            [p.spread or np.nan for p in own] if any(p.spread for p in own) else None,
            fmt=MARKERS[i % len(MARKERS)],
            color=f'C{i % 10}',
            capsize=3,
            label=group or None,
        )
    axes.plot(
        *_steps(best),
        color='gray',
        linestyle='--',
        linewidth=1,
        zorder=0,
        label='Pareto front',
    )
    _count_ticks(axes, [point.size for point in points])
    axes.set_xlabel(size)
    axes.set_ylabel(accuracy)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.margins(0.12)
    axes.legend(fontsize='small')
    _label(axes, points if len(points) <= LABELLED else best)
    return _saved(figure, path)


def _label(axes: Any, points: Sequence[Point]) -> None:
    """Write each point's label beside it, where it covers no other; all else is drawn already."""
    from adjustText import adjust_text  # takes half a second

    axes.figure.draw_without_rendering()  # settles the layout, which the places depend on
    texts = [axes.text(p.size, p.accuracy, p.label, fontsize='small') for p in points]
    arrows = {'arrowstyle': '-', 'color': 'gray'}
    legend = [axes.get_legend()]
    adjust_text(
        texts, ax=axes, objects=legend, expand=(1.1, 1.4), iter_lim=ITERATIONS, arrowprops=arrows
    )


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points than which no other is as small and more accurate, by size."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.size, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


def confusion(matrix: NDArray[np.int64], labels: Sequence[str], path: Path) -> Figure:
    """
    Draw what each class is taken for; ``matrix`` (true class, class answered) -> pictures.

    Each row in shares of its pictures: written where they fit, else in colours of a logarithm,
    among which rare mistakes show too. A class without pictures is left blank.
    """
    classes, pictures = len(labels), matrix.sum(axis=1, keepdims=True)
    shares = np.divide(100.0 * matrix, pictures, where=pictures > 0, out=np.zeros(matrix.shape))
    few = classes <= NUMBERED
    side = 2.6 + 0.42 * classes if few else 8
    figure = _figure(side + 0.9, side)
    axes = figure.subplots()
    least = max(float(shares[shares > 0].min(initial=100)), 0.01)
    norm = Normalize(0, 100) if few else LogNorm(least, 100)
    colors = ListedColormap(colormaps['Blues'](np.linspace(0 if few else 0.3, 1, 256)))
    image = axes.imshow(np.ma.masked_equal(shares, 0), colors, norm=norm)
    title = "share of the true class's pictures, %"
    figure.colorbar(image, label=title, shrink=0.8, format='%g')
    if few:
        for (i, j), share in np.ndenumerate(shares):
            if share > 0:
                text = f'{share:.0f}' if share >= 0.5 else '<1'
                color = 'white' if share > 50 else 'black'
                axes.text(j, i, text, ha='center', va='center', color=color, fontsize='small')
    if classes <= NAMED:
        names, font = [_short(label) for label in labels], None if few else 7
        axes.set_xticks(range(classes), names, rotation=90, fontsize=font)
        axes.set_yticks(range(classes), names, fontsize=font)
    axes.set_xlabel('class answered' if classes <= NAMED else 'number of the class answered')
    axes.set_ylabel('true class' if classes <= NAMED else 'number of the true class')
    top1 = 100 * np.trace(matrix) / max(1, matrix.sum())
    axes.set_title(f'{int(matrix.sum()):,} pictures, top-1 {top1:.2f} %')
    return _saved(figure, path)


def reliability(scores: NDArray[np.float64], right: NDArray[np.bool_], path: Path) -> Figure:
    """
    Draw what share of the answers is right, by their score, over how many have that score.

    ``scores`` and ``right`` are (pictures,). On the diagonal a score says how often it is right;
    bars above it are answers that are surer than they say.
    """
    found, width = bins(scores, right), 1 / BINS
    figure = _figure(5.5, 6)
    shares, counts = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    left = [b.left for b in found]
    shares.bar(left, [100 * b.right for b in found], width, align='edge', edgecolor='white')
    shares.plot([0, 1], [0, 100], color='gray', linestyle='--', label='as the score says')
    shares.set(xlim=(0, 1), ylim=(0, 100), ylabel='right, %')
    shares.legend()
    counts.bar(left, [b.pictures for b in found], width, align='edge', edgecolor='white')
    counts.set(xlabel='score of the class answered', ylabel='pictures')
    means = {'mean score': (scores.mean(), ':'), 'right': (right.mean(), '-')}
    for name, (value, line) in means.items():
        counts.axvline(value, color='C1', linestyle=line, label=f'{name}: {100 * value:.1f} %')
    counts.legend(fontsize='small')
    error = 100 * calibration_error(scores, right)
    shares.set_title(f'{len(scores):,} pictures, calibration error {error:.1f} %')
    return _saved(figure, path)


def robustness(changes: Sequence[Change], found: Mapping[str, Right], path: Path) -> Figure:
    """Draw how much each model has right, a panel for each change; a dotted line: no change."""
    columns = 4
    rows = -(-(len(changes) + 1) // columns)  # one is for the legend
    figure = _figure(3 * columns, 2.6 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
    for axes, change in zip(panels, changes, strict=False):
        for i, (name, right) in enumerate(found.items()):
            own = right[change.name]
            marker = MARKERS[i % len(MARKERS)]
            axes.plot([*own], [*own.values()], marker=marker, markersize=4, label=name)
        axes.axvline(change.none, color='gray', linestyle=':')
        axes.set_title(f'{change.name}, {change.unit}', fontsize='medium')
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(changes) :]:
        axes.axis('off')
    for axes in figure.axes[::columns]:
        axes.set_ylabel('right, %')
    figure.axes[len(changes)].legend(*figure.axes[0].get_legend_handles_labels(), loc='center')
    return _saved(figure, path)


def _figure(width: float, height: float) -> Figure:
    """Return a figure of that many inches that no window and no global state knows."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def _saved(figure: Figure, path: Path) -> Figure:
    figure.savefig(path, format='png')
    return figure


def _steps(best: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Return the corners of a front: as accurate as a point until the next size."""
    x = [best[0].size, *(point.size for point in best[1:] for _ in range(2))]
    y = [*(point.accuracy for point in best[:-1] for _ in range(2)), best[-1].accuracy]
    return x, y


def _of(rows: Sequence[dict[str, float]], name: str) -> Iterator[tuple[dict[str, float], float]]:
    return ((row, row[name]) for row in rows if name in row)


def _columns(at: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in at], [y for _, y in at]


def _rates(rows: Sequence[dict[str, float]]) -> list[str]:
    """Return the columns of learning rates that differ from those before them."""
    names = sorted({name for row in rows for name in row if name.startswith('lr-')})
    different = {tuple(value for _, value in _of(rows, name)): name for name in reversed(names)}
    return sorted(different.values())


def _count_ticks(axes: Any, values: Sequence[float]) -> None:
    """Mark a logarithmic axis with round numbers such as 200k, as many as its decades need."""
    decades = np.log10(max(values) / min(values))
    steps = (1,) if decades > 2.5 else (1, 2, 5) if decades > 0.8 else (1, 1.2, 1.5, 2, 3, 4, 5, 7)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    axes.xaxis.set_minor_locator(NullLocator())


def _short(label: str, most: int = 24) -> str:
    return label if len(label) <= most else f'{label[: most - 1]}…'
