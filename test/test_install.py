# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The package installs the way robots and workstations install it: by colcon and by pip."""

from __future__ import annotations

import os
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
