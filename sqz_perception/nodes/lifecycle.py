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
"""
A lifecycle node that starts by itself, answers every call and logs why a transition fails.

rclpy's own lifecycle services do none of this. They have room for ten requests, so that calls get
lost. They stand in the callback group of all other services, so that a transition that takes long
blocks these. A transition that does not fit the state raises an exception that ends the node.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from lifecycle_msgs.msg import State, Transition, TransitionDescription
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy

from sqz_perception.errors import SqzError
from sqz_perception.nodes.executor import PairGroup

CALLS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)  # as parameter services

TransitionCallback = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: TransitionCallback) -> TransitionCallback:
    """Log why a transition fails; rclpy drops its exception."""

    @wraps(transition)
    def log(node: ManagedNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            if node.ending:  # what fails then is no news
                return TransitionCallbackReturn.FAILURE
            return _report(node, error)

    return log


def _report(node: LifecycleNode, error: Exception) -> TransitionCallbackReturn:
    if isinstance(error, (SqzError, InvalidTopicNameException)):
        node.get_logger().error(' '.join(str(error).split()))
        return TransitionCallbackReturn.FAILURE
    node.get_logger().error(f'{type(error).__name__}: {error}; please report this')
    return TransitionCallbackReturn.ERROR


class ManagedNode(LifecycleNode):
    """
    A lifecycle node of which one transition runs at a time; a request meanwhile is refused.

    Services and topics are those of any lifecycle node.
    """

    def __init__(self, name: str, **options: Any) -> None:
        # Without rclpy's services; its publisher of transition_event is there all the same.
        super().__init__(name, enable_communication_interface=False, **options)
        self.transitions_group = PairGroup()
        self._in_transition = threading.Lock()
        self.ending = False  # with the process: a transition that fails then is no news
        self.create_service(
            ChangeState,
            '~/change_state',
            self._on_change_state,
            qos_profile=CALLS,
            callback_group=self.transitions_group,
        )
        for kind, service, callback in (
            (GetState, 'get_state', self._on_get_state),
            (GetAvailableStates, 'get_available_states', self._on_get_states),
            (GetAvailableTransitions, 'get_available_transitions', self._on_get_transitions),
            (GetAvailableTransitions, 'get_transition_graph', self._on_get_graph),
        ):
            self.create_service(kind, f'~/{service}', callback, qos_profile=CALLS)

    def start(self) -> bool:
        """Configure and activate; return false where that fails."""
        if not self._in_transition.acquire(blocking=False):
            return True  # a lifecycle manager was faster, or the process ends already
        try:
            return all(
                transition() == TransitionCallbackReturn.SUCCESS
                for transition in (self.trigger_configure, self.trigger_activate)
            )
        finally:
            self._in_transition.release()

    def end_transitions(self, seconds: float) -> bool:
        """Allow no more transitions; return whether the last has ended within ``seconds``."""
        return self._in_transition.acquire(timeout=seconds)

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        wanted = request.transition.label or request.transition.id
        if not self._in_transition.acquire(blocking=False):
            self.get_logger().warning(f'transition {wanted} refused: busy with another')
            return response
        try:
            trigger = self._trigger(request.transition)
            if trigger is None:
                state = self._state_machine.current_state[1]
                self.get_logger().warning(f'transition {wanted} refused: the node is {state}')
                return response
            response.success = trigger() == TransitionCallbackReturn.SUCCESS
            return response
        finally:
            self._in_transition.release()

    def _trigger(self, wanted: Transition) -> Callable[[], TransitionCallbackReturn] | None:
        """Return the method for a transition, by its label or else its id; None if it can't be."""
        triggers = {
            'configure': self.trigger_configure,
            'activate': self.trigger_activate,
            'deactivate': self.trigger_deactivate,
            'cleanup': self.trigger_cleanup,
            'shutdown': self.trigger_shutdown,
        }
        for number, label, *_ in self._state_machine.available_transitions:
            if wanted.label == label or (not wanted.label and wanted.id == number):
                return triggers.get(label)
        return None

    def _on_get_state(self, _: GetState.Request, response: GetState.Response) -> GetState.Response:
        response.current_state = _state(*self._state_machine.current_state)
        return response

    def _on_get_states(
        self, _: GetAvailableStates.Request, response: GetAvailableStates.Response
    ) -> GetAvailableStates.Response:
        response.available_states = [_state(*s) for s in self._state_machine.available_states]
        return response

    def _on_get_transitions(
        self, _: GetAvailableTransitions.Request, response: GetAvailableTransitions.Response
    ) -> GetAvailableTransitions.Response:
        response.available_transitions = _described(self._state_machine.available_transitions)
        return response

    def _on_get_graph(
        self, _: GetAvailableTransitions.Request, response: GetAvailableTransitions.Response
    ) -> GetAvailableTransitions.Response:
        response.available_transitions = _described(self._state_machine.transition_graph)
        return response


def _state(number: int, label: str) -> State:
    return State(id=number, label=label)


def _described(transitions: Iterable[tuple[Any, ...]]) -> list[TransitionDescription]:
    return [
        TransitionDescription(
            transition=Transition(id=number, label=label),
            start_state=_state(*start_and_goal[:2]),
            goal_state=_state(*start_and_goal[2:]),
        )
        for number, label, *start_and_goal in transitions
    ]
