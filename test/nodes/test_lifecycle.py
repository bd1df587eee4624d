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
"""Transitions that fail, and what lifecycle managers ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from lifecycle_msgs.msg import State, Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rclpy.context import Context
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from ros_support import Client
from sqz_perception.errors import ModelNotFound
from sqz_perception.nodes.executor import OnceExecutor
from sqz_perception.nodes.lifecycle import ManagedNode, logged


class Managed(ManagedNode):
    """A node whose configure does what a test wants."""

    def __init__(self, **options: Any) -> None:
        super().__init__('managed', **options)
        self.on_configuring: Callable[[], None] = lambda: None
        self.errors = 0

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.on_configuring()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.errors += 1
        return TransitionCallbackReturn.SUCCESS


@pytest.fixture
def node(domain: int) -> Iterator[Managed]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Managed(context=context)
    groups = (node.default_callback_group, node.transitions_group)
    executor = OnceExecutor(groups, context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield node
    context.try_shutdown()
    thread.join()
    node.destroy_node()


def change(client: Client, label: str = '', number: int = 0) -> bool:
    request = ChangeState.Request(transition=Transition(label=label, id=number))
    return client.call(ChangeState, 'managed/change_state', request).success


def state(client: Client) -> str:
    return client.call(GetState, 'managed/get_state').current_state.label


def transitions(client: Client, service: str) -> list[tuple[str, str, str]]:
    found = client.call(GetAvailableTransitions, f'managed/{service}').available_transitions
    return [(t.start_state.label, t.transition.label, t.goal_state.label) for t in found]


def test_it_is_a_lifecycle_node_like_any_other(node: Managed, client: Client) -> None:
    events = client.collect(TransitionEvent, 'managed/transition_event')
    client.until(lambda: client.node.count_publishers('managed/transition_event'), 'the events')
    states = client.call(GetAvailableStates, 'managed/get_available_states').available_states
    assert State(id=State.PRIMARY_STATE_ACTIVE, label='active') in states
    available = transitions(client, 'get_available_transitions')
    assert available == [
        ('unconfigured', 'configure', 'configuring'),
        ('unconfigured', 'shutdown', 'shuttingdown'),
    ]
    assert ('inactive', 'activate', 'activating') in transitions(client, 'get_transition_graph')
    assert change(client, 'configure')
    assert change(client, number=Transition.TRANSITION_ACTIVATE)
    assert state(client) == 'active'
    client.until(lambda: events and events[-1].goal_state.label == 'active', 'the last event')
    assert change(client, 'shutdown')
    assert state(client) == 'finalized'
    assert not change(client, 'shutdown')


@pytest.mark.parametrize(
    ('label', 'number'),
    [('activate', 0), ('', Transition.TRANSITION_ACTIVATE), ('', 0), ('', 255), ('nonsense', 1)],
)
def test_what_does_not_fit_changes_nothing(
    node: Managed, client: Client, label: str, number: int
) -> None:
    assert not change(client, label, number)
    assert state(client) == 'unconfigured'
    assert change(client, 'configure')


def fail(error: Exception) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_a_transition_that_fails_can_be_tried_again(node: Managed, client: Client) -> None:
    node.on_configuring = fail(ModelNotFound('a.sqz: no such file'))
    assert not change(client, 'configure')
    assert (state(client), node.errors) == ('unconfigured', 0)
    node.on_configuring = fail(MemoryError('no room'))
    assert not change(client, 'configure')
    assert (state(client), node.errors) == ('unconfigured', 1)
    node.on_configuring = lambda: None
    assert change(client, 'configure')


def test_one_transition_at_a_time(node: Managed, client: Client) -> None:
    go_on = threading.Event()
    node.on_configuring = lambda: go_on.wait(20) and None
    request = ChangeState.Request(transition=Transition(label='configure'))
    first = client.begin(ChangeState, 'managed/change_state', request)
    client.until(lambda: state(client) == 'configuring', 'the transition to begin')
    assert not change(client, 'configure')
    assert not node.end_transitions(0.01)
    go_on.set()
    client.until(first.done, 'its answer')
    assert first.result().success
    assert node.end_transitions(20)
    assert not change(client, 'activate')


def test_a_start_that_comes_too_late_does_nothing(node: Managed, client: Client) -> None:
    assert node.end_transitions(20)
    assert node.start()
    assert state(client) == 'unconfigured'


def test_it_starts_by_itself(node: Managed, client: Client) -> None:
    assert node.start()
    assert state(client) == 'active'
    assert change(client, 'deactivate')
