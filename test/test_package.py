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
"""package.xml, setup.py and the tree say the same."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[1]
NAME = 'sqz_perception'

# What is imported under another name than it is installed by.
PIP_NAMES = {'cv2': 'opencv-python-headless', 'yaml': 'pyyaml'}


@pytest.fixture(scope='module')
def manifest() -> ElementTree.Element:
    """Return package.xml."""
    return ElementTree.parse(ROOT / 'package.xml').getroot()


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the arguments that setup.py gives to setuptools."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **given: arguments.update(given))
    monkeypatch.chdir(ROOT)
    runpy.run_path('setup.py')
    return arguments


def imports() -> set[str]:
    """Return the top-level modules from elsewhere that the package imports."""
    found = set()
    for file in (ROOT / NAME).rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split('.')[0])
    return found - set(sys.stdlib_module_names) - {NAME}


def requirements(arguments: dict[str, Any]) -> set[str]:
    """Return the names of what pip installs with the package."""
    lines = arguments['install_requires']
    return {re.split(r'[<>=!~\[; ]', line, maxsplit=1)[0] for line in lines}


def text_of(manifest: ElementTree.Element, tag: str) -> str:
    """Return the text of the one element of that name."""
    return manifest.findtext(tag, default='').strip()


def test_name_version_licence_and_maintainer_agree(
    manifest: ElementTree.Element, setup: dict[str, Any]
) -> None:
    maintainer = manifest.find('maintainer')
    assert maintainer is not None
    assert (setup['name'], setup['version'], setup['license']) == (
        text_of(manifest, 'name'),
        text_of(manifest, 'version'),
        text_of(manifest, 'license'),
    )
    assert setup['maintainer'] == maintainer.text
    assert setup['maintainer_email'] == maintainer.get('email')


def test_package_xml_is_valid() -> None:
    package = pytest.importorskip('catkin_pkg.package')
    warnings: list[str] = []
    parsed = package.parse_package(str(ROOT / 'package.xml'), warnings=warnings)
    parsed.validate(warnings=warnings)
    assert parsed.get_build_type() == 'ament_python'
    assert parsed.package_format == 3
    assert warnings == []


def test_every_package_is_written_out(setup: dict[str, Any]) -> None:
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / NAME).rglob('*.py')}
    assert sorted(setup['packages']) == sorted('.'.join(folder.parts) for folder in folders)
    assert all((ROOT / folder / '__init__.py').is_file() for folder in folders)


def test_every_data_file_is_installed(setup: dict[str, Any]) -> None:
    installed = {
        f'{folder}/{Path(file).name}' for folder, fs in setup['data_files'] for file in fs
    }
    share = f'share/{NAME}'
    expected = {f'share/ament_index/resource_index/packages/{NAME}', f'{share}/package.xml'}
    for pattern in ('config/*', 'launch/*.launch.py', 'models/*.sqz'):
        expected |= {f'{share}/{file.relative_to(ROOT)}' for file in ROOT.glob(pattern)}
    assert installed == expected
    assert f'{share}/config/fastdds.xml' in installed


def test_every_import_is_a_declared_dependency(
    manifest: ElementTree.Element, setup: dict[str, Any]
) -> None:
    declared = {element.text for element in manifest.iter('exec_depend')}
    pip = requirements(setup)
    undeclared = {
        name for name in imports() if PIP_NAMES.get(name, name) not in pip and name not in declared
    }
    assert undeclared == set()


def test_what_pip_installs_is_imported(setup: dict[str, Any]) -> None:
    assert requirements(setup) <= {PIP_NAMES.get(name, name) for name in imports()}


def test_executables_lie_where_ros2_run_looks() -> None:
    parser = ConfigParser()
    parser.read(ROOT / 'setup.cfg')
    assert parser['develop']['script_dir'] == f'$base/lib/{NAME}'
    assert parser['install']['install_scripts'] == f'$base/lib/{NAME}'


@pytest.mark.ros
def test_every_executable_has_its_function(setup: dict[str, Any]) -> None:
    pytest.importorskip('rclpy')
    scripts = setup['entry_points']['console_scripts']
    targets = dict(re.split(r'\s*=\s*', script) for script in scripts)
    assert sorted(targets) == ['classifier_node', 'image_source_node']
    for target in targets.values():
        module, function = target.split(':')
        assert callable(getattr(import_module(module), function))


@pytest.mark.ros
def test_the_installed_package_is_found_by_the_ament_index() -> None:
    index = pytest.importorskip('ament_index_python.packages')
    share = Path(index.get_package_share_directory(NAME))
    assert (share / 'package.xml').is_file()
    assert (share / 'config' / 'fastdds.xml').is_file()


def test_launch_files_do_not_shadow_the_launch_package() -> None:
    assert not (ROOT / 'launch' / '__init__.py').exists()
