# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What writes metrics.csv; training.metrics reads it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pytorch_lightning.loggers import CSVLogger


class MetricsLogger(CSVLogger):
    """Lightning's, but Ctrl-C leaves the file whole: a new column has all of it written anew."""

    def save(self) -> None:
        """Write what was logged; SIGINT waits until that is done."""
        with uninterrupted():
            super().save()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT wait. It comes to the main thread, and no other may say what it does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if waiting:
        signal.raise_signal(signal.SIGINT)
