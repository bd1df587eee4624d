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
"""What can go wrong while a machine is set up, each in one line with its remedy."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
from pathlib import Path

NEWEST_WHEELS = (3, 13)  # the newest Python that ROS 2 wheels exist for

# What a tool's output says, and what the person can do about it; the first that is found counts.
KNOWN = (
    (r'No space left on device', 'no space left on this disk: free about 8 GB'),
    (
        r'NewConnectionError|NameResolutionError|name resolution|Connect(ion)?Timeout'
        r'|ReadTimeout|ProxyError|Max retries exceeded|connection broken',
        'pip cannot reach the package index: connect to the network, or set PIP_INDEX_URL',
    ),
    (
        r"The C extension '.*' isn't present on the system",
        'the sourced ROS 2 is made for another Python: make PYTHON=/usr/bin/python3',
    ),
    (
        r'No matching distribution found for (?P<what>\S+)',
        'the package index has no {what} for this Python and machine',
    ),
)


class SetupError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


def explain(output: str) -> str:
    """Return one line that says why the command that printed ``output`` failed."""
    for pattern, remedy in KNOWN:
        if found := re.search(pattern, output):
            return remedy.format(**found.groupdict())
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r'\berror\b', line, re.IGNORECASE)]
    return (errors or lines or ['it said nothing'])[-1]


def check_venv_module() -> None:
    """Raise SetupError unless this Python can make virtual environments."""
    if not all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip')):
        version = python_version()
        raise SetupError(
            f'Python {version} has no venv module: sudo apt install python{version}-venv'
        )


def check_wheels() -> None:
    """Raise SetupError where PyPI has no ROS 2 for this machine or this Python."""
    machine = f'{sys.platform} {platform.machine()}'
    if machine != 'linux x86_64':
        raise SetupError(
            f'PyPI has no ROS 2 for {machine}: install a ROS 2 distribution with its '
            'vision_msgs package and source its setup.bash first'
        )
    if sys.version_info[:2] > NEWEST_WHEELS:
        raise SetupError(
            f'PyPI has no ROS 2 for Python {python_version()}: use 3.10 to 3.13, '
            'as in make PYTHON=python3.12'
        )


def check_compiler() -> None:
    """Raise SetupError unless C++ that includes Python.h can be compiled here."""
    compilers = [os.environ.get('CXX', ''), 'c++', 'g++', 'clang++']
    if not any(shutil.which(name.split()[0]) for name in compilers if name.strip()):
        raise SetupError('no C++ compiler: sudo apt install g++')
    if not (Path(sysconfig.get_paths()['include']) / 'Python.h').is_file():
        version = python_version()
        raise SetupError(f'no Python.h for Python {version}: sudo apt install python{version}-dev')


def python_version() -> str:
    """Return this Python's version, such as 3.12."""
    return '.'.join(map(str, sys.version_info[:2]))
