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
"""A simulated time that does not advance is reported; ages are plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock

from ros_support import Client
from sqz_perception.nodes import clock
from sqz_perception.nodes.clock import ClockWatch


@pytest.fixture(scope='module')
def plain() -> Iterator[Node]:
    """Return a node that follows the system's time."""
    context = Context()
    rclpy.init(context=context)
    node = Node('plain', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def simulated(client: Client, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node that follows /clock, with little patience."""
    monkeypatch.setattr(clock, 'PATIENCE', 0.1)
    node = client.node
    node.set_parameters([Parameter('use_sim_time', value=True)])
    return node


def test_no_clock_and_a_paused_clock(simulated: Node, client: Client, capfd: Any) -> None:
    watch = ClockWatch(simulated)
    assert watch.trouble() is None  # at first there is patience
    client.spin_for(0.2)
    assert 'no /clock, but use_sim_time is true' in (watch.trouble() or '')
    assert watch.age(Time(sec=5)) is None  # without a time there is no age
    publisher = simulated.create_publisher(Clock, '/clock', 10)

    def tick(second: int) -> bool:
        publisher.publish(Clock(clock=Time(sec=second)))
        return simulated.get_clock().now().nanoseconds == second * 10**9

    for second in (10, 11):
        client.until(lambda second=second: tick(second), 'the time')
        assert watch.trouble() is None
    assert watch.age(Time(sec=9, nanosec=500_000_000)) == 1.5
    client.spin_for(0.2)
    for _ in range(3):
        assert 'stands still' in (watch.trouble() or '')
    simulated.set_parameters([Parameter('use_sim_time', value=False)])
    assert watch.trouble() is None
    output = capfd.readouterr().err
    assert (output.count('no /clock'), output.count('stands still')) == (1, 1)


@given(
    st.integers(-(2**31), 2**31 - 1), st.one_of(st.just(0), st.integers(0, 2**32 - 1))
)  # all that the message can hold
def test_every_stamp_has_an_age(plain: Node, sec: int, nanosec: int) -> None:
    age = ClockWatch(plain).age(Time(sec=sec, nanosec=nanosec))
    now = plain.get_clock().now().nanoseconds / 1e9
    if sec == nanosec == 0:
        assert age is None
    else:
        assert age == pytest.approx(now - sec - nanosec / 1e9, abs=1.0)
