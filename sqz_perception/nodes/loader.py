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
"""Loads a model in a thread of its own, which blocks nothing and can be cancelled."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from pathlib import Path

from sqz_perception.errors import LoadCancelled, SwapRefused
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import LoadedModel, load


class Loader:
    """
    One load at a time.

    A cancelled load returns to its caller at once. Its thread ends with the stage it is in. The
    next load waits for that, so that two never take memory at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: _Job | None = None

    def load(self, path: Path, runtime: Runtime) -> LoadedModel:
        """Load the model at ``path`` and wait for it. Raises SqzError, or what ``load`` raises."""
        with self._lock:
            if self.path is not None:
                raise SwapRefused(
                    f'busy: {self.path} is being loaded; try again when that is done'
                )
            before = self._job
            job = self._job = _Job(path, runtime, before)
            try:
                job.start()
            except RuntimeError:  # no room for another thread
                self._job = before
                raise
        try:
            model = job.outcome.result()
        except CancelledError as error:
            raise LoadCancelled(f'{path}: the load was cancelled') from error
        finally:
            self._forget(job)
        return model

    @property
    def path(self) -> Path | None:
        """Return the file that is being loaded; None if none is, or if its load was cancelled."""
        job = self._job
        return job.path if job is not None and not job.outcome.done() else None

    @property
    def running(self) -> bool:
        """Whether the thread of a load still runs, even that of a cancelled one."""
        job = self._job
        return job is not None and job.is_alive()

    def cancel(self) -> Path | None:
        """Cancel the load that is under way; return its file, None where there was none."""
        path, job = self.path, self._job
        return path if job is not None and job.outcome.cancel() else None

    def _forget(self, job: _Job) -> None:
        """Let go of a finished load, and of its model. A cancelled one may still run."""
        with self._lock:
            if self._job is job and not job.outcome.cancelled():
                self._job = None


class _Job(threading.Thread):
    """The thread of one load. A daemon: the end of the process does not wait for it."""

    def __init__(self, path: Path, runtime: Runtime, before: _Job | None) -> None:
        super().__init__(name='load', daemon=True)
        self.path = path
        self.outcome: Future[LoadedModel] = Future()
        self._runtime = runtime
        self._before = before

    def run(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        try:
            model = load(self.path, self._runtime, self.outcome.cancelled)
        except BaseException as error:
            with suppress(InvalidStateError):  # cancelled meanwhile
                self.outcome.set_exception(error)
        else:
            with suppress(InvalidStateError):
                self.outcome.set_result(model)
