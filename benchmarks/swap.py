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
"""A new model under load: how long update_model takes, and what the stream of results feels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.report import Goal, Row, summarise
from benchmarks.setting import CLASSIFIER, Setting, parameters, say

TIMES = 4  # swaps
EVERY = 4.0  # seconds between two, more than one takes
RATE = 30.0  # hertz
NONE_LOST = Goal(high=0.0)


def measure(setting: Setting) -> Iterator[Row]:
    """Swap each model for its twin some times while frames come."""
    for name, path in setting.models.items():
        say(f'swap: {name}, {TIMES} times at {RATE:g} Hz')
        twin = setting.folder / f'twin-{path.name}'
        shutil.copyfile(path, twin)
        yield from rows(name, *swap(setting, path, twin))


def swap(setting: Setting, model: Path, twin: Path) -> tuple[list[int], dict[str, Any]]:
    """Return the stamps of the frames sent and what the observer saw."""
    seconds = EVERY * (TIMES + 2)
    models = [str((twin, model)[number % 2]) for number in range(TIMES)]
    with ExitStack() as stack:
        run = stack.enter_context
        lab = setting.lab
        observer = run(
            lab.running('benchmarks.observer', '--every', str(EVERY), '--swap', *models)
        )
        camera = run(lab.running('benchmarks.camera', '--seconds', str(seconds)))
        run(lab.running(CLASSIFIER, *parameters(model)))
        sent = camera.result(timeout=60 + seconds)['sent']
        time.sleep(0.5)
        observer.interrupt()
        return [stamp for stamp, _ in sent], observer.result()


def rows(name: str, sent: list[int], seen: dict[str, Any]) -> Iterator[Row]:
    """Yield duration, worst gap in each swap and frames lost; beside them the calm stream's."""
    times = dict(seen['received'])
    swaps: list[tuple[int, int]] = seen['swaps']
    yield summarise('swap', f'{name}: update_model', 'ms', [(e - b) / 1e6 for b, e in swaps])
    arrivals = sorted(times.values())
    pairs = list(pairwise(arrivals))
    worst = [max_gap([p for p in pairs if p[1] >= b and p[0] <= e]) for b, e in swaps]
    yield summarise('swap', f'{name}: longest gap in a swap', 'ms', worst)
    calm = [
        (after - before) / 1e6
        for before, after in pairs
        if all(after < b or before > e for b, e in swaps)
    ]
    yield summarise('swap', f'{name}: gap without a swap', 'ms', calm)
    lost = [sum(1 for stamp in sent if b <= stamp <= e and stamp not in times) for b, e in swaps]
    yield Row(
        'swap',
        f'{name}: frames lost in {len(swaps)} swaps',
        'frames',
        sum(lost),
        samples=sum(1 for stamp in sent for b, e in swaps if b <= stamp <= e),
        goal=NONE_LOST,
    )


def max_gap(pairs: list[tuple[int, int]]) -> float:
    """Return the longest of the intervals in ms."""
    return max(((after - before) / 1e6 for before, after in pairs), default=0.0)
