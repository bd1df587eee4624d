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
"""The model in use, which can be replaced between two pictures: ``swap`` is one assignment."""

from __future__ import annotations

import os
import threading

from sqz_perception.errors import SwapRefused
from sqz_perception.inference.checks import SELF_TEST_TOLERANCE, self_test
from sqz_perception.inference.loading import LoadedModel, Result, build, load, softmax

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
        """
        Make ``model`` the current one; return the one it replaces, kept for ``rollback``.

        If both have the same content, the one before them is kept.
        """
        with self._lock:
            replaced, self.current = self.current, model
            if replaced.identity != model.identity:
                self._previous = replaced
            self.swaps += 1
            return replaced

    def previous_is(self, path: str | os.PathLike[str]) -> bool:
        """Return whether the model before came from ``path``."""
        previous = self._previous
        return previous is not None and previous.path == os.fspath(path)

    def rollback(self) -> LoadedModel:
        """Go back to the model before; return the one that it replaces. Raises SwapRefused."""
        with self._lock:
            if self._previous is None:
                raise SwapRefused('there is no earlier model; name one in model and update')
            replaced, self.current, self._previous = self.current, self._previous, None
            self.swaps += 1
            return replaced
