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
"""What a camera's frames did lately: counted by the frame path, read by the diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import pairwise

RATE_INTERVALS = 5  # between frames, from which on a camera's rate is known
WINDOW = 300  # frames over which the percentiles are taken: ten seconds at 30 Hz
REGULAR_INTERVALS = 9  # the last ones, that show whether a camera is regular
LONG_AGO = 30.0  # seconds: no network and no queue makes a frame that old


@dataclass
class CameraStatistics:
    """Counters and recent times of one camera. Any thread may write and read."""

    received: int = 0
    classified: int = 0
    stale: int = 0
    long_ago: int = 0  # of the stale ones, those whose stamp can't be of this time
    future: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by what was wrong with the frame

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._latency: deque[float] = deque(maxlen=WINDOW)  # ms
        self._own_cost: deque[float] = deque(maxlen=WINDOW)  # ms
        self._inference: deque[float] = deque(maxlen=WINDOW)  # ms
        self._arrivals: deque[float] = deque(maxlen=WINDOW)  # time.monotonic()
        self.started = time.monotonic()

    def on_received(self) -> None:
        with self._lock:
            self.received += 1
            self._arrivals.append(time.monotonic())

    def on_dropped(self, kind: str) -> None:
        with self._lock:
            self.dropped[kind] += 1

    def on_classified(self, own_cost: float, inference: float) -> None:
        """Count a classified frame and what it took; both in milliseconds."""
        with self._lock:
            self.classified += 1
            self._own_cost.append(own_cost)
            self._inference.append(inference)

    def on_age(self, age: float, stale_after: float) -> None:
        """Count a classified frame by its age since its stamp; both in seconds."""
        with self._lock:
            self.future += age < -stale_after
            self.stale += age > stale_after
            self.long_ago += age > max(stale_after, LONG_AGO)
            if age >= 0:
                self._latency.append(age * 1e3)

    def percentiles(self) -> dict[str, float]:
        """Return p50 and p99 of each recent time in milliseconds; empty where there is none."""
        with self._lock:
            series = {
                'latency': list(self._latency),
                'inference': list(self._inference),
                'own_cost': list(self._own_cost),
            }
        return {
            f'{name}_p{percent}_ms': percentile(values, percent)
            for name, values in series.items()
            for percent in (50, 99)
            if values
        }

    def rate(self) -> float:
        """Return the camera's frames per second, by the median interval; 0 while unknown."""
        intervals = self._intervals()
        if len(intervals) < RATE_INTERVALS:
            return 0.0
        return 1 / max(percentile(intervals, 50), 1e-6)

    def regular(self, longest: float) -> bool:
        """Return whether the last frames followed each other within ``longest`` seconds."""
        last = self._intervals()[-REGULAR_INTERVALS:]
        return len(last) == REGULAR_INTERVALS and max(last) <= longest

    def silence(self) -> float:
        """Return the seconds since the last message, or since the camera was subscribed to."""
        with self._lock:
            return time.monotonic() - (self._arrivals[-1] if self._arrivals else self.started)

    def _intervals(self) -> list[float]:
        """Return the seconds between the recent messages."""
        with self._lock:
            arrivals = list(self._arrivals)
        return [after - before for before, after in pairwise(arrivals)]


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest of ``values`` that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]
