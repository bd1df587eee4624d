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
"""Measure the memory that this machine, or this container, has left."""

from __future__ import annotations

from pathlib import Path

GIB = 2**30


def free_gib(root: Path = Path('/')) -> float:
    """Return the free memory in GiB: infinite where Linux does not report it below ``root``."""
    return min(_machine(root / 'proc'), _container(root / 'sys' / 'fs' / 'cgroup')) / GIB


def _machine(proc: Path) -> float:
    try:
        return 1024 * _field(proc / 'meminfo', 'MemAvailable:')
    except (OSError, LookupError):
        return float('inf')


def _container(cgroup: Path) -> float:
    """Return what is left of the limit of a control group, version 2; its cache can be freed."""
    try:
        limit = float((cgroup / 'memory.max').read_text(encoding='ascii'))
        used = float((cgroup / 'memory.current').read_text(encoding='ascii'))
        return limit - used + _field(cgroup / 'memory.stat', 'inactive_file')
    except (OSError, LookupError, ValueError):  # no such group, or its limit is 'max'
        return float('inf')


def _field(path: Path, name: str) -> int:
    lines = path.read_text(encoding='ascii').splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines}[name]
