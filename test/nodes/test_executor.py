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
"""Each callback is given out once, and once only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import TimeoutException
from rclpy.node import Node

from sqz_perception.nodes.executor import OnceExecutor, PairGroup

GROUP = PairGroup()


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('test_executor', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def test_a_callback_that_no_thread_has_begun_is_not_given_out_again(node: Node) -> None:
    timer = node.create_timer(0.01, lambda: None)
    executor = OnceExecutor([GROUP], context=node.context)
    executor.add_node(node)
    _, entity, _ = executor.wait_for_ready_callbacks(timeout_sec=10.0)
    assert entity is timer
    with pytest.raises(TimeoutException):
        executor.wait_for_ready_callbacks(timeout_sec=0.1)
    executor.shutdown()


def test_every_call_of_a_callback_is_given_out(node: Node) -> None:
    calls: list[int] = []
    node.create_timer(0.01, lambda: calls.append(1))
    executor = OnceExecutor([GROUP], context=node.context)
    executor.add_node(node)
    while len(calls) < 5:
        executor.spin_once(timeout_sec=10.0)
    executor.shutdown()
