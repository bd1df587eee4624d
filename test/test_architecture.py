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
"""The house: imports run downwards, the wings do not know each other, no torch on the robot."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / 'sqz_perception'

# What a floor may import of this package, besides itself.
ALLOWED = {
    'errors': set(),
    'atomic': set(),
    'formats': {'errors'},
    'pictures': {'errors', 'formats', 'video'},
    'video': {'errors', 'formats'},
    'resources': set(),
    'model': {'atomic', 'errors'},
    'inference': {'atomic', 'errors', 'formats', 'model'},
    'update': {'atomic', 'errors', 'model', 'version'},
    'version': set(),
    'nodes': {'errors', 'model', 'inference', 'update', 'pictures', 'resources'},
    '__init__': set(),
    '__main__': {'errors', 'model', 'inference', 'pictures', 'resources'},
}
ROS = {'rclpy', 'sensor_msgs', 'std_msgs', 'vision_msgs', 'std_srvs', 'diagnostic_msgs'}
# Imports that other floors may not make: nodes are the only ones that know ROS.
MODULES = sorted(PACKAGE.rglob('*.py'))


def imports(path: Path) -> set[str]:
    """Return the dotted names that the module at ``path`` imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


def floor(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


@pytest.mark.parametrize('path', MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    here = floor(path)
    for name in imports(path):
        parts = name.split('.')
        assert parts[0] not in ('torch', 'torchvision', 'training'), f'{path}: {name}'
        assert here == 'nodes' or parts[0] not in ROS, f'{path} knows ROS: {name}'
        if parts[0] == 'sqz_perception' and len(parts) > 1:
            assert parts[1] in ALLOWED[here] | {here}, f'{path} looks up to {name}'


def test_no_other_part_of_the_repository_is_imported_by_training() -> None:
    for path in (ROOT / 'training').rglob('*.py'):
        for name in imports(path):
            assert not name.startswith('sqz_perception.nodes'), f'{path}: {name}'


@pytest.mark.parametrize(
    'module',
    [
        'sqz_perception.__main__',
        'sqz_perception.inference.classifier',
        'sqz_perception.inference.frames',
        'sqz_perception.inference.openvino',
        'sqz_perception.inference.onnxruntime',
        'sqz_perception.pictures',
        pytest.param('sqz_perception.nodes.classifier_node', marks=pytest.mark.ros),
        pytest.param('sqz_perception.nodes.image_source_node', marks=pytest.mark.ros),
    ],
)
def test_the_runtime_imports_where_torch_can_not(module: str) -> None:
    if '.nodes.' in module:
        pytest.importorskip('rclpy', reason='needs ROS 2')
    block = "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None; "
    result = subprocess.run(
        [sys.executable, '-c', f'{block}import {module}'],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


def test_launch_is_no_package() -> None:
    assert not (ROOT / 'launch' / '__init__.py').exists()
