# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The table of the experiments: one row for each, over its seeds, and the plots beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from training.command import Row

HEADER = """\
| experiment | epochs | top-1, % | parameters | MB, fp32 | MMACs | forward, ms | s/epoch | paper |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Return a row for each experiment: means over its seeds, and top-1 from lowest to highest."""
    names = dict.fromkeys(row['experiment'] for row in rows)
    return [_summary([row for row in rows if row['experiment'] == name]) for name in names]


def markdown(summaries: Iterable[Row], paper: Mapping[str, str]) -> str:
    """Return the table, ``paper`` being what it found on ImageNet, by the experiments' names."""
    return HEADER + ''.join(_line(row, paper.get(row['experiment'], '')) for row in summaries)


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
        'forward_ms': rows[0].get('forward_ms', ''),
        'seconds_per_epoch': min(row['seconds_per_epoch'] for row in rows),
    }


def _line(row: Row, paper: str) -> str:
    top1 = f'{row["top1"]:.1f}'
    if row['seeds'] > 1:
        top1 += f' ({row["lowest"]:.1f} to {row["highest"]:.1f})'
    cells = (
        row['experiment'],
        row['epochs'],
        top1,
        f'{row["parameters"]:,}',
        f'{row["bytes"] / 1e6:.2f}',
        f'{row["macs"] / 1e6:.1f}',
        f'{row["forward_ms"]:.2f}' if row['forward_ms'] else '',
        f'{row["seconds_per_epoch"]:.0f}',
        paper,
    )
    return f'| {" | ".join(map(str, cells))} |\n'
