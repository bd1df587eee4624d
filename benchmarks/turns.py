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
"""Contenders in turns, so that a change of the machine's mood touches all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from benchmarks.setting import say

TURNS = 10
RUNS = 20  # in each turn, after WARM_UP
WARM_UP = 3
PAUSE = 0.05  # seconds between turns: the threads of the one before go to sleep

Run = Callable[[], object]


def take(part: str, runs: Mapping[str, Run]) -> dict[str, list[float]]:
    """Return how many milliseconds each run of each contender took."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS):
        say(f'{part}: turn {turn + 1} of {TURNS}')
        for name, run in runs.items():
            found[name] += timed(run, RUNS, WARM_UP)
            time.sleep(PAUSE)
    return found


def timed(run: Run, times: int, warm_up: int = 0) -> list[float]:
    """Return how many milliseconds each of ``times`` runs took."""
    values = []
    for number in range(warm_up + times):
        begun = time.perf_counter()
        run()
        if number >= warm_up:
            values.append((time.perf_counter() - begun) * 1e3)
    return values
