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
"""Parameters become one frozen dataclass; what can't be accepted is refused with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
import rclpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rcl_interfaces.msg import SetParametersResult
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from sqz_perception.nodes.parameters import Parameters, parameter


@dataclass(frozen=True)
class Settings:
    rate: float = parameter(1.0, 'a double', (0.0, 100.0), live=True)
    count: int = parameter(5, 'an integer', (1, 9), live=True)
    names: tuple[str, ...] = parameter([''], 'a list')
    mode: str = parameter('slow', 'a word', ('slow', 'fast'), live=True)
    inner: bool = parameter(False, 'a name with a dot', name='group.inner', live=True)


class Owner(Node):
    """A node as those of the package are."""

    def __init__(self, **options: Any) -> None:
        super().__init__('owner', **options)
        self.configured = False
        self.changes: list[tuple[Settings, Settings]] = []
        self.parameters = Parameters(
            self, Settings, lambda: self.configured, lambda *pair: self.changes.append(pair)
        )

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        return self.parameters.change(parameter_list, super().set_parameters_atomically)

    def set(self, name: str, value: Any) -> SetParametersResult:
        return self.set_parameters_atomically([Parameter(name, value=value)])


@pytest.fixture
def owner(domain: int) -> Iterator[Callable[..., Owner]]:
    """Make a node with ROS arguments such as ``'-p', 'rate:=2'``."""
    context, nodes = Context(), []

    def make(*arguments: str) -> Owner:
        rclpy.init(args=['--ros-args', *arguments], context=context, domain_id=domain)
        nodes.append(Owner(context=context))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_settings_are_typed_and_frozen(owner: Any) -> None:
    now = owner('-p', 'names:=[a,b]', '-p', 'group.inner:=true').parameters.current
    assert now == Settings(1.0, 5, ('a', 'b'), 'slow', True)
    with pytest.raises(FrozenInstanceError):
        now.rate = 2.0


def test_a_change_replaces_the_settings_as_a_whole(owner: Any) -> None:
    node = owner()
    before = node.parameters.current
    two = [Parameter('rate', value=2.5), Parameter('mode', value='fast')]
    assert node.set_parameters_atomically(two).successful
    assert before == Settings()
    assert node.changes == [(Settings(), Settings(rate=2.5, mode='fast'))]
    assert node.parameters.current is node.changes[0][1]


def test_integers_are_accepted_for_doubles(owner: Any) -> None:
    node = owner('-p', 'rate:=10')
    assert node.parameters.current.rate == 10.0
    assert node.set('rate', 7).successful
    assert (node.parameters.current.rate, node.get_parameter('rate').value) == (7.0, 7.0)
    assert isinstance(node.get_parameter('rate').value, float)
    assert 'out of range' in node.set('rate', 101).reason


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('rate', 'fast', 'Wrong parameter type'),
        ('rate', True, 'Wrong parameter type'),
        ('rate', float('nan'), 'out of range'),
        ('count', 5.0, 'Wrong parameter type'),
        ('mode', 'medium', 'mode is one of slow, fast'),
        ('names', None, "an empty list has no type in ROS; for the default write ['']"),
        ('names', ['a'], 'read when the node configures'),
        ('raet', 1.0, 'there is no parameter raet (did you mean rate?)'),
        ('use_sim_time', 3, 'type'),
    ],
)
def test_what_is_refused(owner: Any, name: str, value: Any, reason: str) -> None:
    node = owner()
    node.configured = name == 'names' and value is not None
    answer = node.set(name, value)
    assert not answer.successful
    assert reason in answer.reason
    assert node.parameters.current == Settings()
    assert node.changes == []


def test_a_list_with_one_wrong_value_changes_nothing(owner: Any) -> None:
    node = owner()
    both = [Parameter('rate', value=2.0), Parameter('use_sim_time', value='yes')]
    assert not node.set_parameters_atomically(both).successful
    assert node.parameters.current == Settings()
    assert node.changes == []


def test_an_unchanged_value_is_accepted(owner: Any) -> None:
    node = owner('-p', 'names:=[front]')
    node.declare_parameter('fixed', 3, Node.describe_parameter(node, 'count'))
    node.describe_parameter('fixed').read_only = True
    node.configured = True
    for name in ('names', 'rate', 'fixed', 'use_sim_time'):
        assert node.set(name, node.get_parameter(name).value).successful, name
    assert not node.set('fixed', 4).successful
    assert node.changes == []


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('names:=[]', "for the default write ['']"),
        ('rate:=[]', 'for the default write 1.0'),
        ('mode:=medium', 'mode is one of slow, fast'),
        ('rate:=fast', 'rate'),
    ],
)
def test_a_start_that_is_refused(owner: Any, argument: str, message: str) -> None:
    with pytest.raises(Exception) as error:
        owner('-p', argument)
    assert message in str(error.value)


def test_unknown_parameters_are_named(owner: Any, capfd: Any) -> None:
    given = ['raet:=2.0', 'xyz:=[]', 'qos_overrides./image.publisher.depth:=3', 'count:=2']
    node = owner(*[word for pair in given for word in ('-p', pair)])
    assert node.parameters.current.count == 2
    output = capfd.readouterr().err
    assert 'unknown parameters are ignored: raet (did you mean rate?), xyz\n' in output


values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(),
    st.lists(st.text(), min_size=1), st.lists(st.integers(0, 9), min_size=1),
)  # fmt: skip


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.sampled_from(['rate', 'count', 'names', 'mode', 'x']), values)))
def test_settings_never_differ_from_the_parameters(
    any_owner: Owner, requests: list[tuple[str, Any]]
) -> None:
    node = any_owner
    before, count = node.parameters.current, len(node.changes)
    answer = node.set_parameters_atomically([Parameter(n, value=v) for n, v in requests])
    now = node.parameters.current
    for name in ('rate', 'count', 'mode'):
        assert getattr(now, name) == node.get_parameter(name).value
    assert now.names == tuple(node.get_parameter('names').value)
    assert 0.0 <= now.rate <= 100.0
    assert now.mode in ('slow', 'fast')
    assert answer.successful or now == before
    assert (now != before) == (len(node.changes) > count)


@pytest.fixture
def any_owner(owner: Any) -> Owner:
    return owner()
