# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The table of the experiments: one row for each, over its seeds, and the plots beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from training.command import Row

COLUMNS = (
    'experiment',
    'epochs',
    'top-1, %',
    'parameters',
    'MB, fp32',
    'MMACs',
    'forward, ms',
    'training, ms',
    'paper',
)


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each experiment: means over its seeds, and top-1 from lowest to highest."""
    names = dict.fromkeys(row['experiment'] for row in rows)
    return [_summary([row for row in rows if row['experiment'] == name]) for name in names]


def markdown(summaries: Iterable[Row], paper: Mapping[str, str]) -> str:
    """Return the table, ``paper`` being what it found on ImageNet, by the experiments' names."""
    lines = [_cells(row, paper.get(row['experiment'], '')) for row in summaries]
    return ''.join(
        f'| {" | ".join(map(str, cells))} |\n'
        for cells in (COLUMNS, ('---',) * len(COLUMNS), *lines)
    )


def _summary(rows: Sequence[Row]) -> Row:
    top1 = [row['top1'] for row in rows]
    return {
        **{key: rows[0][key] for key in ('experiment', 'group', 'epochs')},
        'seeds': len(rows),
        'top1': fmean(top1),
        'lowest': min(top1),
        'highest': max(top1),
        'top5': fmean(row['top5'] for row in rows),
        **{key: rows[0][key] for key in ('parameters', 'bytes', 'macs')},
        **{key: rows[0][key] for key in ('forward_ms', 'step_ms')},
    }


def _cells(row: Row, paper: str) -> tuple[object, ...]:
    top1 = f'{row["top1"]:.1f}'
    if row['seeds'] > 1:
        top1 += f' ({row["lowest"]:.1f} to {row["highest"]:.1f})'
    return (
        row['experiment'],
        row['epochs'],
        top1,
        f'{row["parameters"]:,}',
        f'{row["bytes"] / 1e6:.2f}',
        f'{row["macs"] / 1e6:.1f}',
        f'{row["forward_ms"]:.2f}',
        f'{row["step_ms"]:.2f}',
        paper,
    )
