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
"""Figures -> the table that people read and the JSON that programs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqz_perception.nodes.statistics import percentile

HEADINGS = ('part', 'what', 'median', 'p99', 'unit', 'n', 'goal', 'met')
NUMBERS = frozenset({'median', 'p99', 'n'})


@dataclass(frozen=True)
class Goal:
    """What a row's median must be: at least ``low``, at most ``high``."""

    low: float = float('-inf')
    high: float = float('inf')

    def __str__(self) -> str:
        if self.low == float('-inf'):
            return f'<= {self.high:g}'
        if self.high == float('inf'):
            return f'>= {self.low:g}'
        return f'{self.low:g} to {self.high:g}'

    def met_by(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Row:
    """One figure. ``p99`` is None where there is only one value or its tail means nothing."""

    part: str
    what: str
    unit: str
    median: float
    p99: float | None = None
    samples: int = 1
    goal: Goal | None = None
    note: str = ''

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        return None if self.goal is None else self.goal.met_by(self.median)

    def record(self) -> dict[str, object]:
        """Return the row for JSON."""
        return {
            'part': self.part,
            'what': self.what,
            'unit': self.unit,
            'median': self.median,
            'p99': self.p99,
            'samples': self.samples,
            'goal': None if self.goal is None else str(self.goal),
            'met': self.met,
            'note': self.note,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row for the table, in the order of HEADINGS."""
        return (
            self.part,
            self.what,
            number(self.median),
            '' if self.p99 is None else number(self.p99),
            self.unit,
            f'{self.samples}',
            '' if self.goal is None else str(self.goal),
            {None: '', True: 'yes', False: 'NO'}[self.met],
        )


def summarise(
    part: str,
    what: str,
    unit: str,
    values: Sequence[float],
    goal: Goal | None = None,
    note: str = '',
) -> Row:
    """Return the row for ``values``, one or more; p99 from a hundred on, else the greatest."""
    if not values:
        raise ValueError(f'{part}: {what}: nothing was measured')
    ordered = list(values)
    tail = percentile(ordered, 99) if len(ordered) > 1 else None
    return Row(part, what, unit, percentile(ordered, 50), tail, len(ordered), goal, note)


def number(value: float) -> str:
    """Return ``value`` with three figures, or all of those before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f'{value:.{digits}f}'


def table(rows: Sequence[Row]) -> str:
    """Return ``rows`` as a Markdown table whose columns also line up in a terminal."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    rule = [
        '-' * (width - 1) + ':' if name in NUMBERS else '-' * width
        for name, width in zip(HEADINGS, widths, strict=True)
    ]
    return '\n'.join(_line(row, widths) for row in (cells[0], rule, *cells[1:]))


def write(path: Path, about: dict[str, object], rows: Iterable[Row]) -> None:
    """Write the machine's description and ``rows`` to ``path`` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, 'rows': [row.record() for row in rows]}
    path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.rjust(width) if name in NUMBERS else cell.ljust(width)
        for name, cell, width in zip(HEADINGS, cells, widths, strict=True)
    ]
    return f'| {" | ".join(padded)} |'
