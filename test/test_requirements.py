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
"""requirements/: the locked files hold what the ranges allow, and a robot keeps its NumPy."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'requirements'
LOCKED = sorted(file.stem for file in (FOLDER / 'locked').glob('*.txt'))
UNLOCKED = {'training'}  # which PyTorch is right depends on the machine

# What Ubuntu 22.04 and 24.04 have: Python and NumPy.
UBUNTU = {'3.10': '1.21.5', '3.12': '1.26.4'}
PYTHONS = ('3.10', '3.11', '3.12', '3.13')

# What rosdep installs on a robot in place of a package of pip, and what is an alternative there.
ROSDEP = {
    'numpy': 'python3-numpy',
    'opencv-python-headless': 'python3-opencv',
    'pyyaml': 'python3-yaml',
}
ALTERNATIVE = {'onnxruntime'}


def source_of(locked: str) -> str:
    return locked.removesuffix('-numpy1')


def lines(name: str) -> list[str]:
    """Return the lines of a file, continued ones joined, without comments."""
    text = (FOLDER / f'{name}.txt').read_text(encoding='utf-8').replace('\\\n', ' ')
    return [line for line in text.splitlines() if line and not line.startswith('#')]


def requirements(name: str, python: str) -> dict[str, Requirement]:
    """Return what a file requires for a version of Python on Linux, by name."""
    found = {}
    for line in lines(name):
        requirement = Requirement(line.split(' --hash')[0])
        environment = {
            'python_version': python,
            'python_full_version': f'{python}.9',
            'sys_platform': 'linux',
            'platform_system': 'Linux',
        }
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert canonical(requirement.name) not in found, f'{name}: {line} is there twice'
            found[canonical(requirement.name)] = requirement
    return found


def canonical(name: str) -> str:
    return re.sub(r'[-_.]+', '-', name).lower()


def version_of(locked: Requirement) -> str:
    (exact,) = locked.specifier
    assert exact.operator == '==' and '*' not in exact.version
    return exact.version


def test_every_file_is_locked() -> None:
    files = {file.stem for file in FOLDER.glob('*.txt')}
    assert {source_of(name) for name in LOCKED} == files - UNLOCKED


@pytest.mark.parametrize('name', LOCKED)
def test_a_locked_file_has_exact_versions_with_hashes_and_no_address(name: str) -> None:
    for line in lines(f'locked/{name}'):
        requirement, *hashes = re.split(r'\s+--hash=', line)
        version_of(Requirement(requirement))
        assert hashes and all(re.fullmatch(r'sha256:[0-9a-f]{64}\s*', value) for value in hashes)
        assert '://' not in line and '@' not in line


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('name', LOCKED)
def test_a_locked_file_holds_what_the_ranges_allow(name: str, python: str) -> None:
    locked = requirements(f'locked/{name}', python)
    for package, wanted in requirements(source_of(name), python).items():
        assert wanted.specifier.contains(version_of(locked[package])), f'{package}: make lock'


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('ros', ['ros-jazzy', 'ros-kilted'])
def test_files_that_are_installed_together_agree(ros: str, python: str) -> None:
    together: dict[str, str] = {}
    for name in ('runtime', 'build', 'demo', 'test', 'lint', ros):
        for package, locked in requirements(f'locked/{name}', python).items():
            version = version_of(locked)
            assert together.setdefault(package, version) == version, f'{name}: {package}'


@pytest.mark.parametrize(('python', 'numpy'), UBUNTU.items())
def test_a_robot_keeps_the_numpy_of_its_distribution(python: str, numpy: str) -> None:
    assert requirements('runtime', python)['numpy'].specifier.contains(numpy)
    assert version_of(requirements('locked/robot', python)['numpy']) == numpy


@pytest.mark.parametrize('python', UBUNTU)
def test_a_distribution_with_numpy_1_gets_no_other(python: str) -> None:
    assert version_of(requirements('locked/runtime-numpy1', python)['numpy']).startswith('1.')
    assert 'numpy' not in requirements('locked/demo', python)


def test_pip_brings_to_a_robot_what_rosdep_does_not() -> None:
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert set(ROSDEP.values()) <= {element.text for element in manifest.iter('exec_depend')}
    runtime, robot = requirements('runtime', '3.12'), requirements('robot', '3.12')
    assert set(robot) | set(ROSDEP) | ALTERNATIVE == set(runtime)
    for name in set(robot) - {'numpy'}:
        assert robot[name].specifier == runtime[name].specifier


def test_no_key_of_rosdep_calls_pip() -> None:
    # Such a key is refused on Ubuntu 24.04, and replaces the NumPy of 22.04.
    assert '-pip<' not in (ROOT / 'package.xml').read_text(encoding='utf-8')
