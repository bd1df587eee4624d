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
"""The package installs the way robots and workstations install it: by colcon and by pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = 'sqz_perception'
LEFT_OUT = shutil.ignore_patterns('.*', '__pycache__', 'build', 'runs', '*.egg-info')

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a colcon workspace that holds a copy of the package."""
    shutil.copytree(ROOT, tmp_path / 'src' / NAME, ignore=LEFT_OUT)
    return tmp_path


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a command to its successful end and return what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.ros
@pytest.mark.parametrize('flags', [(), ('--symlink-install',)], ids=['copied', 'linked'])
def test_colcon_builds_what_ros2_run_and_launch_look_for(
    workspace: Path, flags: tuple[str, ...]
) -> None:
    pytest.importorskip('colcon_core')
    run('colcon', 'build', *flags, folder=workspace)
    prefix = workspace / 'install' / NAME
    for executable in ('classifier_node', 'image_source_node'):
        assert os.access(prefix / 'lib' / NAME / executable, os.X_OK)
    for file in ('config/fastdds.xml', 'launch/classify.launch.py', 'package.xml'):
        assert (prefix / 'share' / NAME / file).is_file()

    script = (
        f'source install/setup.bash && cd / && python -c "import {NAME} as p; print(p.__file__)"'
    )
    module = Path(run('bash', '-c', script, folder=workspace).strip().splitlines()[-1])
    assert workspace in module.parents
    assert (workspace / 'src' in module.resolve().parents) == bool(flags)


@pytest.mark.ros
def test_colcon_test_finds_the_tests(workspace: Path) -> None:
    pytest.importorskip('colcon_core')
    run('colcon', 'build', folder=workspace)
    chosen = ('--pytest-args', '-k', 'test_version or test_name_version')
    run('colcon', 'test', '--return-code-on-test-failure', *chosen, folder=workspace)
    results = ElementTree.parse(workspace / 'build' / NAME / 'pytest.xml').getroot()
    cases = [case for case in results.iter('testcase') if case.find('skipped') is None]
    assert [case.get('name') for case in cases] == [
        'test_name_version_licence_and_maintainer_agree'
    ]


def run_in_own(root: Path, *command: str | Path, folder: Path) -> str:
    """Run a command in the environment of a checkout if it has one, and not in this one."""
    names = ('AMENT_PREFIX_PATH', 'LD_LIBRARY_PATH', 'PYTHONPATH', 'VIRTUAL_ENV')
    unset = (word for name in names for word in ('-u', name))
    script = '[ ! -f "$0" ] || source "$0"; exec "$@"'
    bash = ('env', *unset, 'bash', '-c', script, root / '.venv' / 'setup.bash')
    return run(*bash, *command, folder=folder)


@pytest.mark.ros
def test_a_checkout_works_in_a_path_with_any_letters(workspace: Path) -> None:
    root = (workspace / 'src').rename(workspace / "Käse & Co, 日本's #1") / NAME
    run_in_own(root, sys.executable, 'scripts/setup_env.py', 'demo', folder=root)
    code = 'import rclpy; from vision_msgs.msg import Classification as C; print(C())'
    assert 'vision_msgs.msg.Class' in run_in_own(root, 'python', '-c', code, folder=root)


@pytest.mark.ros
def test_colcon_test_passes_where_training_is_not_installed(workspace: Path) -> None:
    root = workspace / 'src' / NAME
    run_in_own(root, sys.executable, 'scripts/setup_env.py', 'test', folder=root)
    # No dependency of package.xml brings these.
    others = ('pydocstyle', 'pytest-xdist', 'scikit-image', 'scipy', 'uv')
    run_in_own(root, 'pip', 'uninstall', '-y', *others, folder=root)
    run_in_own(root, 'colcon', 'build', folder=workspace)
    run_in_own(root, 'colcon', 'test', '--return-code-on-test-failure', folder=workspace)


@pytest.mark.parametrize(
    'tools',
    [('pytest==6.2.5', 'hypothesis==6.36.0'), ('pytest==7.4.4', 'hypothesis==6.98.15')],
    ids=['Ubuntu 22.04', 'Ubuntu 24.04'],
)
def test_the_tests_are_collected_by_what_ubuntu_has(
    tools: tuple[str, ...], tmp_path: Path
) -> None:
    pip = (sys.executable, '-m', 'pip', 'install', '--quiet', '--target', tmp_path)
    run(*pip, *tools, folder=tmp_path)
    collect = (sys.executable, '-m', 'pytest', '--collect-only', '--quiet', '-W', 'ignore')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    run(*collect, folder=ROOT, PYTHONPATH=path, PYTEST_DISABLE_PLUGIN_AUTOLOAD='1')


def test_pip_installs_a_command_line_that_needs_no_ros(workspace: Path) -> None:
    python = workspace / 'venv' / 'bin' / 'python'
    run(sys.executable, '-m', 'venv', workspace / 'venv', folder=workspace)
    # NumPy and the like from here: what is tried is this package, not the package index.
    here = {'PYTHONPATH': sysconfig.get_paths()['purelib']}
    pip = (python, '-m', 'pip', 'install', '--no-deps', '--no-build-isolation')
    run(*pip, workspace / 'src' / NAME, folder=workspace, **here)
    info = (python, '-m', NAME, 'info', ROOT / 'test' / 'golden' / 'good-int8.sqz')
    assert 'tiny' in run(*info, folder=workspace, **here)
    share = workspace / 'venv' / 'share'
    assert (share / NAME / 'config' / 'fastdds.xml').is_file()
    assert (share / 'ament_index' / 'resource_index' / 'packages' / NAME).is_file()


# What README.md tells the owner of a robot to do.

# Python and NumPy of Ubuntu 22.04 and 24.04; glibc is 2.35 and 2.39.
UBUNTU = {'3.10': '1.21.5', '3.12': '1.26.4'}
MACHINES = ('x86_64-manylinux_2_35', 'aarch64-manylinux_2_35')


def code_block(file: str, heading: str) -> list[str]:
    """Return the lines of the first block of code below a heading."""
    _, _, text = (ROOT / file).read_text(encoding='utf-8').partition(f'\n## {heading}\n')
    return text.split('```')[1].replace('\\\n', ' ').strip().splitlines()


def pip_line(lines: list[str]) -> list[str]:
    """Return the arguments of the one pip install among lines of shell."""
    (line,) = (line for line in lines if 'pip install' in line)
    return line.partition('pip install ')[2].replace('src/sqz_perception', str(ROOT)).split()


def resolve(python: str, machine: str, folder: Path, *wanted: str) -> str:
    """Return what pip would install on another machine, which must have wheels for all of it."""
    uv = shutil.which('uv') or pytest.skip('uv is not there: make test-slow installs it')
    there = ('--python-version', python, '--python-platform', machine)
    options = ('--dry-run', '--only-binary', ':all:', '--target', folder / 'nowhere')
    return run(uv, 'pip', 'install', *options, *there, *wanted, folder=folder)


@pytest.mark.parametrize('machine', MACHINES)
@pytest.mark.parametrize(('python', 'numpy'), UBUNTU.items())
def test_pip_finds_all_for_a_robot_and_leaves_its_numpy(
    python: str, numpy: str, machine: str, tmp_path: Path
) -> None:
    wanted = pip_line(code_block('README.md', 'On a robot'))
    assert '--require-hashes' in wanted
    assert f'numpy=={numpy}\n' in resolve(python, machine, tmp_path, *wanted)
    wanted = [
        word.strip('"') for word in pip_line(code_block('docs/ros_interface.md', 'Installation'))
    ]
    assert 'numpy==1.' in resolve(python, machine, tmp_path, *wanted)


@pytest.mark.ros
def test_the_robots_installation_gives_nodes_that_run_in_its_environment(tmp_path: Path) -> None:
    pytest.importorskip('colcon_core')
    lines = code_block('README.md', 'On a robot')
    (clone,) = (line for line in lines if line.startswith('git clone'))
    shutil.copytree(ROOT, tmp_path / 'ros2_ws' / clone.split()[-1], ignore=LEFT_OUT)
    elsewhere = re.compile(r'git clone|rosdep |sudo |ros2 ')  # needs a robot, or the network
    script = '\n'.join(['set -e', *(line for line in lines if not elsewhere.match(line))])
    # colcon is a package of the system's Python there.
    here = {'HOME': str(tmp_path), 'PYTHONPATH': sysconfig.get_paths()['purelib']}
    run('bash', '-c', script, folder=tmp_path, PIP_DRY_RUN='1', **here)
    prefix = tmp_path / 'ros2_ws' / 'install' / NAME
    interpreter = (prefix / 'lib' / NAME / 'classifier_node').read_text().splitlines()[0]
    assert interpreter.startswith(f'#!{tmp_path}/ros2_ws/venv/bin/python')
