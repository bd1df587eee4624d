# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The model in use, which can be replaced between two pictures: ``swap`` is one assignment."""

from __future__ import annotations

import threading

from sqz_perception.errors import SwapRefused
from sqz_perception.inference.loading import (
    SELF_TEST_TOLERANCE,
    LoadedModel,
    Result,
    build,
    load,
    self_test,
    softmax,
)

__all__ = [
    'SELF_TEST_TOLERANCE',
    'Classifier',
    'LoadedModel',
    'Result',
    'build',
    'load',
    'self_test',
    'softmax',
]


class Classifier:
    """The model in use and the one before. Any thread may swap; a frame asks ``current`` once."""

    def __init__(self, model: LoadedModel) -> None:
        self._lock = threading.Lock()
        self._previous: LoadedModel | None = None
        self.current = model
        self.swaps = 0

    def swap(self, model: LoadedModel) -> LoadedModel:
        """Make ``model`` the current one; return the one it replaces, kept for ``rollback``."""
        with self._lock:
            self._previous, self.current = self.current, model
            self.swaps += 1
            return self._previous

    def rollback(self) -> LoadedModel:
        """Go back to the model before; return the one it replaces. Raises SwapRefused."""
        with self._lock:
            if self._previous is None:
                raise SwapRefused('no model was in use before this one')
            self._previous, self.current = self.current, self._previous
            self.swaps += 1
            return self._previous
