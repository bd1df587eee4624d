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
"""The first seconds of a new model in use: enough to notice what the self-test did not."""

from __future__ import annotations

import statistics
import threading

from sqz_perception.update.release import Release

MAX_ERRORS = 3  # frames that may fail


class Trial:
    """
    Watches a model from ``begin`` for ``seconds``.

    It fails when more than MAX_ERRORS frames fail, or when the median time of a frame exceeds
    ``limit`` milliseconds at the end. Any thread may report.
    """

    def __init__(self, release: Release, seconds: float, limit: float, begin: float) -> None:
        self.release = release
        self.limit = limit
        self.ends = begin + seconds
        self._lock = threading.Lock()
        self._times: list[float] = []  # ms
        self._errors: list[str] = []

    @property
    def frames(self) -> int:
        return len(self._times)

    def on_result(self, identity: str, milliseconds: float) -> None:
        with self._lock:
            if identity == self.release.identity:
                self._times.append(milliseconds)

    def on_error(self, identity: str, error: Exception) -> None:
        with self._lock:
            if identity == self.release.identity:
                self._errors.append(str(error))

    def failure(self, now: float) -> str:
        """Return why the trial has failed by now, or ''."""
        with self._lock:
            if len(self._errors) > MAX_ERRORS:
                return f'{len(self._errors)} frames failed: {self._errors[-1]}'
            if now < self.ends or not self._times:
                return ''
            median = statistics.median(self._times)
            if median > self.limit:
                return f'{median:.1f} ms per frame; at most {self.limit:.1f} ms'
            return ''
