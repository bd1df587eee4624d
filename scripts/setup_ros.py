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
"""Which ROS 2 is used, how its messages are built where they are missing, and its shell."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

from setup_failures import SetupError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = 'sqz_perception'
UNDERLAY = ROOT / 'underlay' / 'vision_msgs'
PROFILE = ROOT / 'config' / 'fastdds.xml'
OLD_NAME = ('humble', 'iron', 'jazzy')  # those that read the profile through Fast DDS's old name
FASTRTPS, FASTDDS = 'FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'
DISTRIBUTIONS = ('jazzy', 'kilted')  # those on PyPI; the first is the default

# Left behind by the machine that built the wheels, where CMake stops at a folder that is not.
BUILDER_PYTHON = re.compile(r'/opt/python/[^;"]*?/include/python3\.\d+')
BUILDER_NUMPY = re.compile(r'/opt/python/[^;"]*?/site-packages/numpy/_core/include')

Run = Callable[..., None]  # runs a command, its output to the log; SetupError when it fails


@dataclass(frozen=True)
class Ros:
    """Which ROS 2 is used: a sourced distribution, or wheels from PyPI."""

    name: str
    sourced: Path | None = None  # the distribution's prefix; None: from PyPI

    def __str__(self) -> str:
        return f'ROS 2 {self.name} from {self.sourced or "PyPI"}'


def choose(wanted: str) -> Ros:
    """Return the sourced distribution, or else the wanted one from PyPI."""
    name = os.environ.get('ROS_DISTRO', '')
    prefixes = [Path(p) for p in os.environ.get('AMENT_PREFIX_PATH', '').split(':') if p]
    # A shell that sourced this checkout's own setup.bash has no distribution by that.
    prefixes = [prefix for prefix in prefixes if ROOT not in prefix.parents]
    sourced = next((p for p in prefixes if (p / 'share' / 'rclpy').is_dir()), None)
    if not name or not sourced:
        return Ros(wanted)
    if wanted not in (name, DISTRIBUTIONS[0]):
        raise SetupError(f'ROS 2 {name} is sourced: use a shell without it for ROS={wanted}')
    if not any((prefix / 'share' / 'vision_msgs').is_dir() for prefix in prefixes):
        raise SetupError(f'{sourced} has no vision_msgs: sudo apt install ros-{name}-vision-msgs')
    return Ros(name, sourced)


def numpy_limit(ros: Ros, python: str) -> str | None:
    """Return the limit that keeps NumPy fit for a distribution's own compiled messages."""
    if not ros.sourced:
        return None
    command = [str(python), '-c', 'import numpy; print(numpy.__version__)']
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return 'numpy<2' if found.startswith('1.') else None


def build_underlay(venv: Path, run: Run) -> None:
    """Build the messages in underlay/ and install them into the virtual environment."""
    shutil.rmtree(venv / 'build', ignore_errors=True)
    folders = python_folders(venv)
    for file in (venv / 'share').rglob('*.cmake'):
        use_own_folders(file, folders)
    packages = Path(folders['packages']).relative_to(venv)
    # CMake and the linker fail on many characters in a path, so they see these links only.
    with TemporaryDirectory(prefix='sqz-', dir='/tmp') as plain:
        link(Path(plain, 'venv'), venv)
        link(Path(plain, 'source'), UNDERLAY)
        build_messages(Path(plain, 'source'), Path(plain, 'venv'), packages, run)
    shutil.rmtree(venv / 'build')


def build_messages(source: Path, prefix: Path, packages: Path, run: Run) -> None:
    """Build a package of messages with CMake and install it into ``prefix``."""
    build, python, cmake = prefix / 'build', prefix / 'bin/python', str(prefix / 'bin/cmake')
    environment = {
        'PATH': f'{prefix / "bin"}:{os.environ.get("PATH", "")}',
        'AMENT_PREFIX_PATH': str(prefix),
        'CMAKE_PREFIX_PATH': str(prefix),
        'LD_LIBRARY_PATH': library_path(prefix),
    }
    definitions = {
        'CMAKE_BUILD_TYPE': 'Release',
        'CMAKE_INSTALL_PREFIX': prefix,
        'BUILD_TESTING': 'OFF',
        'Python3_EXECUTABLE': python,
        'PYTHON_EXECUTABLE': python,
        'PYTHON_INSTALL_DIR': packages,
    }
    flags = [f'-D{name}={value}' for name, value in definitions.items()]
    run(cmake, '-G', 'Ninja', '-S', str(source), '-B', str(build), *flags, **environment)
    run(cmake, '--build', str(build), **environment)
    run(cmake, '--install', str(build), **environment)


def python_folders(venv: Path) -> dict[str, str]:
    """Return where the virtual environment has its packages, its headers and NumPy's."""
    code = (
        'import json, numpy, sysconfig; paths = sysconfig.get_paths(); '
        'print(json.dumps(dict(packages=paths["purelib"], include=paths["include"], '
        'numpy=numpy.get_include())))'
    )
    command = [str(venv / 'bin' / 'python'), '-c', code]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def use_own_folders(file: Path, folders: dict[str, str]) -> None:
    """Replace the folders of the wheels' builder in a CMake file by this interpreter's own."""
    before = file.read_text()
    after = BUILDER_NUMPY.sub(lambda _: folders['numpy'], before)
    after = BUILDER_PYTHON.sub(lambda _: folders['include'], after)
    if after != before:
        file.write_text(after)


def library_path(venv: Path) -> str:
    """Return the folders in which the ROS 2 wheels keep their shared libraries."""
    beside = sorted(venv.glob('lib/python3*/site-packages/ros_*.libs'))
    return ':'.join(map(str, [venv / 'lib', *beside]))


def link_package(venv: Path) -> None:
    """Make the package found by ROS 2 tools: an editable install leaves out all but modules."""
    for name in ('config', 'launch', 'models', 'package.xml'):
        link(venv / 'share' / PACKAGE / name, ROOT / name)
    marker = Path('share', 'ament_index', 'resource_index', 'packages', PACKAGE)
    link(venv / marker, ROOT / 'resource' / PACKAGE)
    parser = ConfigParser()
    parser.read(venv.glob(f'lib/python3*/site-packages/{PACKAGE}-*.dist-info/entry_points.txt'))
    for script in parser['console_scripts']:
        link(venv / 'lib' / PACKAGE / script, venv / 'bin' / script)


def link(name: Path, target: Path) -> None:
    """Make ``name`` a link to ``target``, whatever link was there."""
    name.parent.mkdir(parents=True, exist_ok=True)
    name.unlink(missing_ok=True)
    name.symlink_to(target)


def write_shell(ros: Ros, venv: Path) -> None:
    """Write the file that a shell sources to use the virtual environment and its ROS 2."""
    profile = FASTRTPS if ros.name in OLD_NAME else FASTDDS
    lines = [
        '# Generated by scripts/setup_env.py. In bash: source this file.',
        *(distribution_lines(ros, venv) if ros.sourced else wheel_lines(venv)),
        f'export VIRTUAL_ENV={quote(str(venv))}',
        'export PATH="$VIRTUAL_ENV/bin:$PATH"',
        'unset PYTHONHOME',
        '# Whole camera frames through shared memory, unless another profile is set.',
        f'[ -n "${{{profile}:-}}" ] || export {profile}={quote(str(PROFILE))}',
    ]
    (venv / 'setup.bash').write_text('\n'.join(lines) + '\n')


def wheel_lines(venv: Path) -> list[str]:
    """Return the lines of the shell file for ROS 2 from PyPI."""
    libraries = quote(library_path(venv))
    return [
        f'export AMENT_PREFIX_PATH={quote(str(venv))}',
        f'export LD_LIBRARY_PATH={libraries}"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"',
        'export RMW_IMPLEMENTATION=rmw_fastrtps_cpp  # the only one on PyPI',
        'export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1  # else each Python starts twice',
    ]


def distribution_lines(ros: Ros, venv: Path) -> list[str]:
    """Return the lines of the shell file for a distribution, which it sources if need be."""
    return [
        f'[ -n "${{AMENT_PREFIX_PATH:-}}" ] || source {quote(f"{ros.sourced}/setup.bash")}',
        f'export AMENT_PREFIX_PATH={quote(str(venv))}":$AMENT_PREFIX_PATH"',
    ]
