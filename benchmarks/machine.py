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
"""What a reader must know of the machine to believe the figures."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    'numpy',
    'opencv-python-headless',
    'openvino',
    'onnxruntime',
    'nncf',
    'torch',
    'torchvision',
    'ros-rclpy',
    'ros-rmw-fastrtps-cpp',
    'ros-fastrtps',
)
DISTRIBUTIONS = {'3': 'humble', '7': 'jazzy', '9': 'kilted'}  # by the major version of rclpy
BUSY = 0.5  # load average of the last minute from which the figures are not to be trusted


def describe(command: str) -> dict[str, object]:
    """Return the machine, the versions, the date and the command, for the report."""
    versions = {name: found for name in PACKAGES if (found := _version(name))}
    return {
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'revision': _revision(),
        'machine': {
            'cpu': _field('/proc/cpuinfo', 'model name') or platform.processor(),
            'cores': len(os.sched_getaffinity(0)),
            'memory_gib': round(_memory_gib(), 1),
            'kernel': f'{platform.system()} {platform.release()}',
            'load_average': round(os.getloadavg()[0], 2),
        },
        'python': platform.python_version(),
        'ros': os.environ.get('ROS_DISTRO') or _distribution(versions.get('ros-rclpy', '')),
        'versions': versions,
    }


def summary(about: dict[str, object]) -> str:
    """Return the description as lines for people."""
    lines = []
    for key, value in about.items():
        if isinstance(value, dict):
            value = ', '.join(f'{name} {item}' for name, item in value.items())
        lines.append(f'{key:9} {value}')
    return '\n'.join(lines)


def _distribution(rclpy: str) -> str:
    return DISTRIBUTIONS.get(rclpy.split('.')[0], 'unknown')


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory_gib() -> float:
    return int((_field('/proc/meminfo', 'MemTotal') or '0 kB').split()[0]) / 2**20


def _field(path: str, name: str) -> str | None:
    """Return what stands after 'name:' in a file of /proc."""
    for line in Path(path).read_text(encoding='utf-8').splitlines():
        key, _, value = line.partition(':')
        if key.strip() == name:
            return value.strip()
    return None


def _revision() -> str | None:
    if shutil.which('git') is None:
        return None
    command = ['git', 'describe', '--always', '--dirty']
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None
