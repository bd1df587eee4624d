# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Labels beside the points of a plot, placed so that they do not cover one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.transforms import Bbox

GAP = 6  # between a point and its label, 1/72 inch
RADIUS = 4  # of a point, 1/72 inch
PLACES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
FAR = tuple((n * x, n * y) for n in (2, 4) for x, y in PLACES)
COVERS, LEAVES = 4, 8  # what a label on something, or out of the axes, costs; on a line: 1
SIDES = {-1: ('right', 'top'), 0: ('center', 'center'), 1: ('left', 'bottom')}


def place(
    axes: Any,
    points: Sequence[tuple[float, float, str]],
    lines: Sequence[tuple[float, float, float, float]] = (),
) -> None:
    """
    Write each label of (x, y, label) beside its point, where it covers least.

    The first ones choose first. ``lines`` (x, y, x, y), upright or level, are better left clear
    too. All else of the figure has to be there already.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # the layout is known from here on
    renderer, inch = figure.canvas.get_renderer(), figure.dpi / 72

    def around(x: float, y: float, to_x: float, to_y: float, radius: float) -> Bbox:
        corners = axes.transData.transform([(x, y), (to_x, to_y)])
        return Bbox([corners.min(axis=0) - radius * inch, corners.max(axis=0) + radius * inch])

    crossed = [around(*line, radius=0.5) for line in lines]
    taken = [around(x, y, x, y, RADIUS) for x, y, _ in points]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent(renderer))
    for x, y, label in points:
        text = axes.annotate(
            label, (x, y), (0, 0), textcoords='offset points', fontsize='small', in_layout=False
        )
        costs = {}
        for where in PLACES + FAR:
            _move(text, where)
            box = text.get_window_extent(renderer)
            costs[where] = (
                COVERS * box.count_overlaps(taken)
                + LEAVES * (not _within(box, axes.bbox))
                + box.count_overlaps(crossed)
            )
        _move(text, min(costs, key=costs.__getitem__))
        taken.append(text.get_window_extent(renderer))


def _move(text: Any, where: tuple[int, int]) -> None:
    x, y = where
    text.set_position((GAP * x, GAP * y))
    text.set_horizontalalignment(SIDES[_sign(x)][0])
    text.set_verticalalignment(SIDES[_sign(y)][1])


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)


def _within(box: Bbox, outer: Bbox) -> bool:
    return outer.contains(*box.min) and outer.contains(*box.max)
