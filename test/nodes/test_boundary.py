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
"""Whatever a callback raises and whatever a service is asked: the node lives and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import domain_coordinator
import pytest
import rclpy
from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_msgs.msg import State, Transition
from rcl_interfaces.msg import Parameter, ParameterValue
from rclpy.context import Context
from rclpy.executors import Executor
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from messages import any_of, load_type
from ros_support import Client, Process, picture, running
from sqz_perception.model import file
from sqz_perception.nodes.boundary import BoundedExecutor
from sqz_perception.nodes.executor import OnceExecutor
from tiny import tiny_model

SHUTDOWNS = (
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    Transition.TRANSITION_INACTIVE_SHUTDOWN,
    Transition.TRANSITION_ACTIVE_SHUTDOWN,
)
MANY = 50  # calls at once


class Served:
    """A live classifier node that is brought back to work after each request."""

    def __init__(self, process: Process, client: Client) -> None:
        self.process, self.client = process, client
        self._camera, self._received = client.camera()
        found = client.node.get_service_names_and_types_by_node('classifier', '/')
        self.services = {name: load_type(types[0]) for name, types in found}
        names = self.call('list_parameters').result.names
        values = self.call('get_parameters', names=names).values
        self._parameters = [
            Parameter(name=name, value=value) for name, value in zip(names, values, strict=True)
        ]

    def call(self, service: str, **fields: Any) -> Any:
        """Return the answer of one of the services below the node's name."""
        kind = self.services[f'/classifier/{service}']
        return self.client.call(kind, f'/classifier/{service}', kind.Request(**fields))

    def check(self) -> None:
        """Bring the node back to its first settings and to work, and classify a frame."""
        answer = self.call('set_parameters_atomically', parameters=self._parameters)
        assert answer.result.successful, answer.result.reason
        self.call('enable', data=True)
        while (state := self.call('get_state').current_state.id) != State.PRIMARY_STATE_ACTIVE:
            unconfigured = state == State.PRIMARY_STATE_UNCONFIGURED
            label = 'configure' if unconfigured else 'activate'
            self.call('change_state', transition=Transition(label=label))
        self._received.clear()
        self._camera.publish(picture(self.client.stamp()))
        self.client.until(lambda: self._received, 'the next frame classified')


@pytest.fixture(scope='module')
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp('served')
    model = folder / 'one.sqz'
    file.write(tiny_model(1), model)
    with domain_coordinator.domain_id() as name:
        domain = int(name)
        client = Client(domain)
        with running('classifier_node', domain, folder / 'log', [], model=model) as process:
            process.wait_for('classifying')
            yield Served(process, client)
        client.close()


@settings(max_examples=30)
@given(data=st.data())
def test_any_request_is_answered_and_the_next_frame_classified(
    served: Served, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(served.services)))
    kind = served.services[name]
    request = data.draw(any_of(kind.Request))
    transition = getattr(request, 'transition', Transition())
    if transition.label == 'shutdown' or transition.id in SHUTDOWNS:
        return  # a node that is shut down classifies no more
    served.client.call(kind, name, request)
    served.check()


@pytest.mark.parametrize('label', ['activate', 'configure', 'cleanup', 'transition_success', 'x'])
def test_a_transition_that_does_not_fit_is_refused(served: Served, label: str) -> None:
    assert not served.call('change_state', transition=Transition(label=label)).success
    assert f'transition {label} refused: the node is active' in served.process.output
    served.check()


def test_a_parameter_of_no_type_is_refused_and_those_before_it_are_set(served: Served) -> None:
    good = Parameter(name='top_k', value=ParameterValue(type=2, integer_value=3))
    bad = Parameter(name='threshold', value=ParameterValue(type=77))
    results = served.call('set_parameters', parameters=[good, bad, good]).results
    assert [result.successful for result in results] == [True, False, False]
    assert '77' in results[1].reason
    answer = served.call('set_parameters_atomically', parameters=[bad]).result
    assert (answer.successful, '77' in answer.reason) == (False, True)
    served.check()


def test_many_calls_at_once_are_all_answered(served: Served) -> None:
    for name, kind in served.services.items():
        if name.endswith('get_type_description'):
            continue  # ROS itself has room for ten of these, and no setting for more
        for future in [served.client.begin(kind, name) for _ in range(MANY)]:
            served.client.until(future.done, f'each of {MANY} answers of {name}')
    served.check()


# The boundary alone, in a process of its own.


@pytest.fixture
def node(domain: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    node = Node('test_boundary', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture(params=['single', 'multi'])
def executor(request: Any, node: Node) -> Iterator[Executor]:
    if request.param == 'single':
        executor: Executor = BoundedExecutor(context=node.context)
    else:
        executor = OnceExecutor([node.default_callback_group] * 2, context=node.context)
    executor.add_node(node)
    yield executor
    executor.shutdown()


def until(executor: Executor, condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        executor.spin_once(timeout_sec=0.05)
    raise AssertionError('waited in vain')


def test_a_timer_that_raises_is_called_again(node: Node, executor: Executor) -> None:
    calls = []

    def fail() -> None:
        calls.append(1)
        raise MemoryError('no room')

    node.create_timer(0.01, fail)
    until(executor, lambda: len(calls) >= 3)


@pytest.mark.parametrize(('kind', 'field'), [(Trigger, None), (SetBool, 'data')])
def test_a_service_that_raises_answers_with_the_reason(
    node: Node, executor: Executor, kind: Any, field: str | None
) -> None:
    def fail(request: Any, response: Any) -> Any:
        response.success = True  # a half filled answer
        raise RuntimeError('out of order')

    node.create_service(kind, 'broken', fail)
    client = node.create_client(kind, 'broken')
    until(executor, client.service_is_ready)
    for _ in range(2):
        future = client.call_async(kind.Request())
        until(executor, future.done)
        answer = future.result()
        assert (answer.success, answer.message) == (False, 'RuntimeError: out of order')
