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
"""Free memory of a machine and of a container, from the files of a fake one."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.memory import free_gib

MACHINE = {'proc/meminfo': 'MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n'}
CONTAINER = {
    'sys/fs/cgroup/memory.max': '2147483648\n',
    'sys/fs/cgroup/memory.current': '1610612736\n',
    'sys/fs/cgroup/memory.stat': 'anon 1\ninactive_file 536870912\n',
}
UNLIMITED = {**CONTAINER, 'sys/fs/cgroup/memory.max': 'max\n'}


@pytest.mark.parametrize(
    ('files', 'expected'),
    [
        ({}, float('inf')),
        ({'proc/meminfo': 'MemTotal: 8 kB\n'}, float('inf')),
        (MACHINE, 4),
        (MACHINE | CONTAINER, 1),
        (MACHINE | UNLIMITED, 4),
    ],
)
def test_the_smallest_limit_counts(tmp_path: Path, files: dict[str, str], expected: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_gib(tmp_path) == expected


def test_this_machine_has_memory() -> None:
    assert free_gib() > 0
