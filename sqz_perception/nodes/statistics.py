# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera's frames did lately: counted by the frame path, read by the diagnostics."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field

RATE_INTERVALS = 5  # between frames, from which on a camera's rate is known
WINDOW = 300  # frames over which the percentiles are taken: ten seconds at 30 Hz


@dataclass
class CameraStatistics:
    """Counters and recent times of one camera. Any thread may write and read."""

    received: int = 0
    classified: int = 0
    stale: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # by what was wrong with the frame
    last_received: float | None = None  # time.monotonic() of the last message

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._intervals: deque[float] = deque(maxlen=WINDOW)  # seconds between two messages
        self._latency: deque[float] = deque(maxlen=WINDOW)  # ms
        self._own_cost: deque[float] = deque(maxlen=WINDOW)  # ms
        self._inference: deque[float] = deque(maxlen=WINDOW)  # ms
        self.started = time.monotonic()

    def on_received(self) -> None:
        with self._lock:
            self.received += 1
            now = time.monotonic()
            if self.last_received is not None:
                self._intervals.append(now - self.last_received)
            self.last_received = now

    def on_dropped(self, kind: str) -> None:
        with self._lock:
            self.dropped[kind] += 1

    def on_stale(self) -> None:
        with self._lock:
            self.stale += 1

    def on_classified(self, own_cost: float, inference: float, latency: float | None) -> None:
        """All in milliseconds; ``latency`` is from the header's stamp, None where it has none."""
        with self._lock:
            self.classified += 1
            self._own_cost.append(own_cost)
            self._inference.append(inference)
            if latency is not None:
                self._latency.append(latency)

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
        with self._lock:
            intervals = list(self._intervals)
        if len(intervals) < RATE_INTERVALS:
            return 0.0
        return 1 / max(percentile(intervals, 50), 1e-6)

    def silence(self) -> float:
        """Return the seconds since the last message, or since the camera was subscribed to."""
        return time.monotonic() - (self.last_received or self.started)


def percentile(values: list[float], percent: float) -> float:
    """Return the smallest of ``values`` that ``percent`` of them do not exceed."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]
