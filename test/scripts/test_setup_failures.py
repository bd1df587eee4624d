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
"""What a person reads when a machine lacks something."""

from __future__ import annotations

import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

import setup_failures
from setup_failures import SetupError, explain

# As pip 23 prints it without a network.
NO_NETWORK = """\
WARNING: Retrying (Retry(total=1, connect=None, read=None, redirect=None, status=None)) after \
connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object \
at 0x7f9d>: Failed to establish a new connection: [Errno -3] Temporary failure in name \
resolution')': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)
ERROR: No matching distribution found for numpy
"""


@pytest.mark.parametrize(
    ('output', 'line'),
    [
        (NO_NETWORK, 'pip cannot reach the package index'),
        (
            'ERROR: No matching distribution found for numpy>=9\n',
            'the package index has no numpy>=9',
        ),
        ('OSError: [Errno 28] No space left on device\n', 'no space left on this disk'),
        ('ok\nx.c:3:9: error: nonsense\nninja: build stopped\n', 'x.c:3:9: error: nonsense'),
        (
            "ModuleNotFoundError: The C extension '/opt/_rclpy.so' isn't present on the system.\n",
            'the sourced ROS 2 is made for another Python',
        ),
        ('first\nlast\n\n', 'last'),
        ('', 'it said nothing'),
    ],
)
def test_output_is_explained_in_one_line(output: str, line: str) -> None:
    assert explain(output).startswith(line)
    assert '\n' not in explain(output)


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.delenv('CXX', raising=False)
    with pytest.raises(SetupError, match='no C.. compiler: sudo apt install'):
        setup_failures.check_compiler()


def test_missing_headers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('CXX', sys.executable)
    monkeypatch.setattr(sysconfig, 'get_paths', lambda: {'include': str(tmp_path)})
    with pytest.raises(SetupError, match='no Python.h .*sudo apt install python3'):
        setup_failures.check_compiler()


def test_missing_venv_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SetupError, match='no venv module: sudo apt install python3.*-venv'):
        setup_failures.check_venv_module()


def test_machine_without_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
    with pytest.raises(SetupError, match='no ROS 2 for linux aarch64: install a ROS 2'):
        setup_failures.check_wheels()


def test_python_newer_than_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'platform', 'linux')
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    monkeypatch.setattr(sys, 'version_info', (3, 14, 0))
    with pytest.raises(SetupError, match=r'no ROS 2 for Python 3\.14: use 3\.10 to 3\.13'):
        setup_failures.check_wheels()
