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
"""Statuses follow the conventions of diagnostic_updater."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.node import Node

from ros_support import Client
from sqz_perception.nodes.diagnostics import Diagnostics, model_status, status


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('classifier', namespace='robot1', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_names_and_hardware(node: Node, client: Client) -> None:
    arrays = client.collect(DiagnosticArray, '/diagnostics')
    diagnostics = Diagnostics(node)
    client.until(lambda: node.count_subscribers('/diagnostics'), 'the subscription')
    for use_fqn in (False, True):
        diagnostics.publish([status(DiagnosticStatus.OK, 'model', 'a\udcff', {'a': 1})], use_fqn)
    client.until(lambda: len(arrays) == 2, 'both statuses')
    names = [array.status[0].name for array in arrays]
    assert names == ['classifier: model', '/robot1/classifier: model']
    first = arrays[0].status[0]
    assert (first.message, bool(first.hardware_id)) == ('a?', True)  # no UTF-8, yet published
    assert [(pair.key, pair.value) for pair in first.values] == [('a', '1')]


def test_an_error_is_logged_once_as_long_as_it_lasts(node: Node, capfd: Any) -> None:
    diagnostics = Diagnostics(node)
    for level in ('OK', 'ERROR', 'ERROR', 'WARN', 'ERROR'):
        each = status(getattr(DiagnosticStatus, level), 'camera', f'it is {level}', {})
        diagnostics.publish([each], False)
    assert capfd.readouterr().err.count('camera: it is ERROR') == 2


def test_a_node_without_a_model() -> None:
    status = model_status(None, 0, None)
    assert status.level == DiagnosticStatus.WARN
    assert 'not configured' in status.message
