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
"""A file is replaced as a whole or not at all, and the order of the steps survives a power cut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sqz_perception import atomic

STEPS = ('fsync', 'replace', 'fsync')  # the file, then its name, then the folder


def record(monkeypatch: pytest.MonkeyPatch, fails_at: int = -1) -> list[str]:
    """Count the calls that decide; the one numbered ``fails_at`` raises as a full disk does."""
    calls: list[str] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> object:
            calls.append(name)
            if len(calls) - 1 == fails_at:
                raise OSError(28, 'No space left on device')
            return real(*arguments)

        monkeypatch.setattr(os, name, call)

    for name in ('fsync', 'replace'):
        watched(name)
    return calls


def test_the_data_is_on_the_disk_before_the_name_points_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'model.sqz'
    path.write_bytes(b'old')
    calls = record(monkeypatch)
    atomic.replace(path, b'new')
    assert tuple(calls) == STEPS
    assert path.read_bytes() == b'new'
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('step', range(len(STEPS)))
def test_a_failing_step_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / 'model.sqz'
    path.write_bytes(b'old')
    record(monkeypatch, fails_at=step)
    with pytest.raises(OSError, match='No space left'):
        atomic.replace(path, b'new')
    assert path.read_bytes() == (b'old' if step < STEPS.index('replace') + 1 else b'new')
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        atomic.replace(tmp_path / 'nowhere' / 'model.sqz', b'new')
