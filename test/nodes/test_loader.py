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
"""One load at a time, which its caller can stop waiting for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sqz_perception.errors import LoadCancelled, SwapRefused
from sqz_perception.inference.backend import Runtime
from sqz_perception.nodes import loader
from sqz_perception.nodes.loader import Loader

A, B, RUNTIME = Path('a.sqz'), Path('b.sqz'), Runtime()
SOON = 20.0  # seconds


class Loads:
    """Loads that begin and end when a test wants. Each returns the name of its file."""

    def __init__(self) -> None:
        self.begun = {path: threading.Event() for path in (A, B)}
        self.may_end = {path: threading.Event() for path in (A, B)}
        self.cancelled: list[Path] = []

    def load(self, path: Path, runtime: Runtime, cancelled: Any) -> Any:
        self.begun[path].set()
        assert self.may_end[path].wait(SOON)
        if cancelled():
            self.cancelled.append(path)
            raise LoadCancelled(str(path))
        if path == B:
            raise MemoryError('no room')
        return path.name


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loads]:
    loads = Loads()
    monkeypatch.setattr(loader, 'load', loads.load)
    yield loads
    for event in loads.may_end.values():
        event.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def test_a_second_load_is_refused_and_names_the_first(
    loads: Loads, pool: ThreadPoolExecutor
) -> None:
    server = Loader()
    first = pool.submit(server.load, A, RUNTIME)
    assert loads.begun[A].wait(SOON)
    assert (server.path, server.running) == (A, True)
    with pytest.raises(SwapRefused, match=r'busy: a\.sqz is being loaded'):
        server.load(B, RUNTIME)
    loads.may_end[A].set()
    assert first.result(SOON) == 'a.sqz'
    assert server.path is None


def test_the_error_of_a_load_is_raised_and_the_next_load_is_free(loads: Loads) -> None:
    server = Loader()
    loads.may_end[A].set()
    loads.may_end[B].set()
    with pytest.raises(MemoryError, match='no room'):
        server.load(B, RUNTIME)
    assert server.load(A, RUNTIME) == 'a.sqz'


def test_a_cancelled_load_returns_at_once_and_the_next_waits_for_its_thread(
    loads: Loads, pool: ThreadPoolExecutor
) -> None:
    server = Loader()
    first = pool.submit(server.load, A, RUNTIME)
    assert loads.begun[A].wait(SOON)
    assert server.cancel() == A
    with pytest.raises(LoadCancelled, match=r'a\.sqz'):
        first.result(SOON)
    assert (server.path, server.running, server.cancel()) == (None, True, None)

    second = pool.submit(server.load, B, RUNTIME)
    assert not loads.begun[B].wait(0.1)
    loads.may_end[A].set()
    assert loads.begun[B].wait(SOON)
    assert loads.cancelled == [A]
    loads.may_end[B].set()
    with pytest.raises(MemoryError):
        second.result(SOON)


def test_there_is_nothing_to_cancel() -> None:
    server = Loader()
    assert (server.cancel(), server.path, server.running) == (None, None, False)
