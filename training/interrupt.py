# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Ctrl-C where it does no harm.

Python raises KeyboardInterrupt between any two of its instructions: while metrics.csv is rewritten
it takes a line, in a library's lock it leaves the lock behind, and in a finaliser it is printed
and forgotten. So the work that must not be cut lets SIGINT wait.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.callbacks import Callback


@contextmanager
def deferred() -> Iterator[list[int]]:
    """
    Let SIGINT wait until the end; a second one is raised at once.

    Gives the list of what waits, which whoever asks for it may empty and answer earlier. SIGINT
    comes to the main thread, and no other may say what it does; one that is ignored stays so.
    """
    waiting: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield waiting
        return

    def come(number: int, _: Any) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    signal.signal(signal.SIGINT, come)
    try:
        yield waiting
    finally:
        signal.signal(signal.SIGINT, before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


class EndBetweenBatches(Callback):
    """Ends a run by KeyboardInterrupt between two batches, once SIGINT waits."""

    def __init__(self, waiting: list[int]) -> None:
        """Watch ``waiting``, what ``deferred`` gave."""
        self.waiting = waiting

    def on_train_batch_start(self, *_: Any) -> None:
        """Raise KeyboardInterrupt where it is due."""
        if self.waiting:
            self.waiting.clear()
            raise KeyboardInterrupt

    def on_validation_batch_start(self, *_: Any) -> None:
        """Raise KeyboardInterrupt where it is due."""
        self.on_train_batch_start()
