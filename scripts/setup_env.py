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
"""
Set up everything that a make target needs, in a virtual environment inside the checkout.

Runs on a bare Python 3.10 or newer. Where a ROS 2 distribution is sourced, that is used;
elsewhere ROS 2 comes from PyPI and the messages in underlay/ are built. Each step remembers what
it was made from: a second run does nothing, and what changed costs its own step only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from setup_failures import SetupError, check_compiler, check_venv_module, check_wheels, explain
from setup_folder import check_owner, check_path, clear, mark
from setup_ros import (
    DISTRIBUTIONS,
    UNDERLAY,
    Ros,
    build_underlay,
    choose,
    link_package,
    numpy_limit,
    write_shell,
)

ROOT = Path(__file__).resolve().parent.parent

TRAINING = ROOT / 'requirements' / 'training.txt'
PACKAGE = ('setup.py', 'setup.cfg')  # what the installed package is made from

# The Python below an active environment, which may be the one that is removed.
BASE_PYTHON: str = getattr(sys, '_base_executable', sys.executable)

# What a shell or a distribution has set for its own Python; pip and CMake must not see it.
FOREIGN = ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH')

DEMO = ('venv', 'build', 'ros', 'runtime', 'underlay', 'package', 'shell', 'demo')
GOALS = {
    'lint': ('venv', 'build', 'runtime', 'lint'),
    'lock': ('venv', 'build', 'test'),
    'demo': DEMO,
    'test': (*DEMO, 'test'),
    'all': (*DEMO, 'test', 'training'),
}


def main() -> int:
    """Set up what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description='Set up the virtual environment.')
    parser.add_argument('goal', choices=GOALS)
    parser.add_argument('--ros', choices=DISTRIBUTIONS, default=DISTRIBUTIONS[0])
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv', metavar='FOLDER')
    arguments = parser.parse_args()
    try:
        venv = arguments.venv.resolve()
        check_path(ROOT)
        check_path(venv)
        with one_at_a_time():
            Setup(choose(arguments.ros), venv).reach(arguments.goal)
    except (SetupError, OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('error: interrupted; the next run goes on from here', file=sys.stderr)
        return 130
    return 0


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other set-up of this checkout runs."""
    with open(__file__, 'rb') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('setup: waiting for another one to end', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Step:
    """One thing to do, and the hash of all that its outcome depends on."""

    name: str
    stamp: str
    act: Callable[[], None]


class Setup:
    """A virtual environment: what stands in it, and what is still to do."""

    def __init__(self, ros: Ros, venv: Path) -> None:
        self.ros = ros
        self.venv = venv
        self.shown = os.path.relpath(venv)
        self.log = venv / 'setup.log'
        self.stamps_file = venv / 'setup.json'
        self.stamps = read_stamps(self.stamps_file)
        self.limit = numpy_limit(ros, BASE_PYTHON)

    def reach(self, goal: str) -> None:
        """Do those steps of the goal that are not done, or whose inputs have changed."""
        steps = [step for step in self.steps() if step.name in GOALS[goal]]
        if self.is_due(steps[0]):
            self.stamps = {}  # nothing of another Python, place or ROS 2 can be kept
        else:
            mark(self.venv)  # one that was made before there was a marker
        due = [step for step in steps if self.is_due(step)]
        if not due:
            print(f'setup: {self.shown} is up to date', flush=True)
            return
        began = time.monotonic()
        self.check_machine({step.name for step in due})
        print(f'setup: {self.ros}, Python {platform.python_version()}, in {self.shown}')
        if self.venv.is_dir():
            self.log.write_text('')
        for step in due:
            self.do(step)
        print(f'setup: {self.shown} is ready after {time.monotonic() - began:.0f} s', flush=True)

    def steps(self) -> list[Step]:
        """Return all steps that this machine can need, in the order in which they are done."""
        place = digest(str(self.venv), self.ros, sys.base_prefix, sys.version)
        ros = [] if self.ros.sourced else [self.installation('ros', f'ros-{self.ros.name}')]
        messages = digest(UNDERLAY, *(step.stamp for step in ros))
        underlay = Step('underlay', messages, lambda: build_underlay(self.venv, self.run))
        package = Step('package', digest(*(ROOT / name for name in PACKAGE)), self.install_package)
        shell = Step('shell', digest(ROOT / 'scripts', messages, package.stamp), self.make_shell)
        return [
            Step('venv', place, self.make_venv),
            self.installation('build'),
            *ros,
            self.installation('runtime', 'runtime-numpy1' if self.limit else 'runtime'),
            *([underlay] if ros else []),
            package,
            shell,
            *map(self.installation, ('demo', 'test', 'lint')),
            Step('training', digest(TRAINING), self.install_training),
        ]

    def installation(self, name: str, locked: str = '') -> Step:
        """Return the step that installs a locked file of requirements."""
        file = ROOT / 'requirements' / 'locked' / f'{locked or name}.txt'
        # Whole, with hashes: nothing but what stands there is installed, not even to build it.
        flags = ('--require-hashes', '--no-deps', '--no-build-isolation')
        return Step(name, digest(file), lambda: self.pip(*flags, '-r', file))

    def is_due(self, step: Step) -> bool:
        """Say whether a step is not done, or was done with other inputs."""
        return self.stamps.get(step.name) != step.stamp

    def check_machine(self, due: set[str]) -> None:
        """Raise SetupError if this machine lacks what the due steps need."""
        if 'venv' in due:
            check_owner(self.venv)
            check_venv_module()
        if 'ros' in due:
            check_wheels()
        if 'underlay' in due:
            check_compiler()

    def do(self, step: Step) -> None:
        """Do one step, say how long it took, and remember it."""
        began = time.monotonic()
        print(f'  {step.name:<9}', end='', flush=True)
        try:
            step.act()
        except BaseException:
            print('failed', flush=True)
            raise
        print(f'{time.monotonic() - began:5.1f} s', flush=True)
        self.stamps[step.name] = step.stamp
        self.write_stamps()

    def write_stamps(self) -> None:
        """Remember which steps are done."""
        self.stamps_file.write_text(json.dumps(self.stamps, indent=2) + '\n')

    def make_venv(self) -> None:
        """Make the virtual environment anew."""
        try:
            clear(self.venv)
        except OSError as error:  # such as a pip that outlived its set-up and still writes there
            raise SetupError(
                f'{self.shown} can not be made anew ({error.strerror or error}): end what uses '
                'it, or remove it, and run again'
            ) from error
        site = ['--system-site-packages'] if self.ros.sourced else []
        self.run(BASE_PYTHON, '-m', 'venv', *site, self.venv)

    def install_training(self) -> None:
        """Install what training needs, with a NumPy that suits the distribution."""
        limits = self.venv / 'limits.txt'
        limits.write_text(f'{self.limit or ""}\n')
        self.pip('--constraint', limits, '-r', TRAINING)

    def install_package(self) -> None:
        """Install the package so that its modules and data files are used where they lie."""
        self.pip('--use-pep517', '--no-build-isolation', '--no-deps', '--editable', ROOT)
        link_package(self.venv)

    def make_shell(self) -> None:
        """Write the file that a shell sources, and see that ROS 2 works in it."""
        write_shell(self.ros, self.venv)
        imports = 'import rclpy, sensor_msgs.msg, vision_msgs.msg'
        names = FOREIGN if self.ros.sourced else ()
        sourced = {name: os.environ[name] for name in names if name in os.environ}
        script = f'source "$0"/setup.bash && python -c "{imports}"'
        self.run('bash', '-c', script, self.venv, **sourced)

    def pip(self, *arguments: str | Path) -> None:
        """Run pip install."""
        pip = (self.venv / 'bin' / 'python', '-m', 'pip', 'install', '--retries', '2')
        self.run(*pip, *arguments)

    def run(self, *command: str | Path, **environment: str) -> None:
        """Run a command, its output to the log; SetupError if it fails."""
        # The wheels' start-up hook would start each Python twice to set a path that is not needed.
        own = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        given = {**own, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1', **environment}
        with open(self.log, 'a+', encoding='utf-8') as log:
            start = log.seek(0, os.SEEK_END)
            log.write(f'$ {" ".join(map(str, command))}\n')
            log.flush()
            done = subprocess.run(command, stdout=log, stderr=log, env=given, check=False)
            log.seek(start)
            if done.returncode:
                raise SetupError(f'{explain(log.read())} (all of it: {self.shown}/setup.log)')


def read_stamps(file: Path) -> dict[str, str]:
    """Return the stamps of the steps done so far; none where there is no sound file."""
    try:
        return dict(json.loads(file.read_text()))
    except (OSError, ValueError):
        return {}


def digest(*parts: object) -> str:
    """Return one hash of values, and of files and folders by their names and contents."""
    total = hashlib.sha256()
    for part in parts:
        total.update(str(part).encode())
        if isinstance(part, Path) and part.is_file():
            total.update(part.read_bytes())
        elif isinstance(part, Path):
            files = (file for file in sorted(part.rglob('*')) if file.suffix != '.pyc')
            total.update(digest(*(file for file in files if file.is_file())).encode())
    return total.hexdigest()


if __name__ == '__main__':
    sys.exit(main())
