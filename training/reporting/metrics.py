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
"""What training.train writes down of each epoch, read again."""

from __future__ import annotations

import csv
from pathlib import Path

from training.errors import DataError


def epochs(metrics: Path) -> list[dict[str, float]]:
    """
    Return, for each epoch in order, what a run's metrics.csv says of it, by column.

    Of a resumed run what it had set aside (metrics.1.csv, ...) is read too. Raises DataError where
    one of them is no such file.
    """
    found: dict[int, dict[str, float]] = {}
    for part in _parts(metrics):
        first = min(found, default=None)
        older = {e: row for e, row in _read(part).items() if first is None or e < first}
        found = older | found
        if 0 in found:
            break
    return [{'epoch': epoch, **found[epoch]} for epoch in sorted(found)]


def _parts(metrics: Path) -> list[Path]:
    """Return metrics.csv, if it is there, and what was set aside, newest first."""
    aside = metrics.parent.glob(f'{metrics.stem}.*{metrics.suffix}')
    earlier = [part for part in aside if part.suffixes[0][1:].isdigit()]
    earlier.sort(key=lambda part: int(part.suffixes[0][1:]), reverse=True)
    return [*([metrics] if metrics.is_file() else []), *earlier]


def _read(part: Path) -> dict[int, dict[str, float]]:
    """Return epoch -> column -> value; a rate without an epoch is of the epoch that follows."""
    found: dict[int, dict[str, float]] = {}
    waiting: dict[str, float] = {}
    with part.open(newline='', encoding='utf-8') as lines:
        for row in csv.DictReader(lines):
            try:
                epoch = row.pop('epoch')
                waiting |= {name: float(text) for name, text in row.items() if text}
                if epoch:
                    found.setdefault(int(epoch), {}).update(waiting)
                    waiting = {}
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f'{part} is no metrics.csv of training.train') from error
    return found
