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
"""Parameter files are read as rcl reads them, and what has no effect is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import rclpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rclpy.context import Context

from sqz_perception.nodes.params_files import applies, unused, values

NESTED = """
/**: {ros__parameters: {use_sim_time: true}}
/robot1:
  classifier: {ros__parameters: {top_k: 3, diagnostic_updater: {use_fqn: true}}}
other: {ros__parameters: }
"""
parts = st.sampled_from(['classifier', 'robot1', 'a', '*', '**'])


def test_sections_may_be_nested(tmp_path: Path) -> None:
    path = tmp_path / 'nested.yaml'
    path.write_text(NESTED)
    found = dict(values(path))
    assert list(found) == ['/**', '/robot1/classifier', 'other']
    assert found['/robot1/classifier'] == {'top_k': 3, 'diagnostic_updater': {'use_fqn': True}}
    assert found['other'] == {}


@pytest.mark.parametrize(
    ('section', 'node', 'fits'),
    [
        ('/**', '/classifier', True),
        ('/**', '/fleet/robot1/classifier', True),
        ('classifier', '/classifier', True),
        ('classifier', '/robot1/classifier', False),
        ('/robot1/classifier', '/robot1/classifier', True),
        ('/**/classifier', '/fleet/robot1/classifier', True),
        ('/*/classifier', '/fleet/robot1/classifier', False),
        ('/*', '/classifier', True),
        ('clasifier', '/classifier', False),
        ('image_source', '/classifier', False),
    ],
)
def test_which_sections_are_for_a_node(section: str, node: str, fits: bool) -> None:
    assert applies(section, node) == fits


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(parts, min_size=1, max_size=3), st.booleans(), st.sampled_from(['', '/a', '/a/b']))
def test_sections_apply_as_in_rcl(
    tmp_path: Path, names: list[str], leading: bool, namespace: str
) -> None:
    section = '/' * leading + '/'.join(names)
    path = tmp_path / 'any.yaml'
    path.write_text(f'"{section}": {{ros__parameters: {{mark: 1}}}}')
    context = Context()
    rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context)
    node = rclpy.create_node(
        'classifier', namespace=namespace, context=context, start_parameter_services=False
    )
    try:
        node.declare_parameter('mark', 0)
        expected = node.get_parameter('mark').value == 1
        assert applies(section, node.get_fully_qualified_name()) == expected
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_a_file_without_a_section_for_the_node_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'robot.yaml'
    path.write_text('clasifier: {ros__parameters: {top_k: 3}}\ncamera: {ros__parameters: {}}')
    (warning,) = unused(['node', '--ros-args', '--params-file', str(path)], '/ns/classifier')
    assert f'{path} has no section for /ns/classifier (found: clasifier, camera)' in warning
    assert 'name the section /**' in warning


@pytest.mark.parametrize(
    'text', ['', '/**: {ros__parameters: {}}', NESTED, '- a list', '{not yaml', 'a: 1', '\x00']
)
def test_other_files_give_no_warning(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'robot.yaml'
    path.write_text(text)
    assert unused(['--params-file', str(path)], '/robot1/classifier') == []
    assert unused(['--params-file', str(tmp_path / 'missing.yaml')], '/classifier') == []
