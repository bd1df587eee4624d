# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that starts by itself and logs why a transition fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sqz_perception.errors import SqzError

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log why a transition fails; rclpy drops its exception."""

    @wraps(transition)
    def log(node: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            if not node.context.ok():
                return TransitionCallbackReturn.FAILURE  # the process ends: no news
            if isinstance(error, (SqzError, InvalidTopicNameException)):
                node.get_logger().error(' '.join(str(error).split()))
                return TransitionCallbackReturn.FAILURE
            node.get_logger().error(f'{type(error).__name__}: {error}; please report this')
            return TransitionCallbackReturn.ERROR

    return log


class ManagedNode(LifecycleNode):
    """
    A lifecycle node whose ``change_state`` waits for nothing.

    ``change_state`` has a callback group of its own, so that a transition that takes long blocks
    no other service. A request during a transition is refused.
    """

    exit_code = 0

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self.transitions_group = ReentrantCallbackGroup()
        self._in_transition = threading.Lock()
        for service in self.services:
            if service.srv_type is ChangeState:
                self._change_state = service.callback
                service.callback = self._on_change_state
                service.callback_group = self.transitions_group
                self.transitions_group.add_entity(service)

    def start(self) -> None:
        """Configure and activate. Where that fails, end the process with exit code 1."""
        with self._in_transition:
            for transition in (self.trigger_configure, self.trigger_activate):
                if transition() != TransitionCallbackReturn.SUCCESS:
                    self.exit_code = 1 if self.context.ok() else 0
                    self.context.try_shutdown()
                    return

    def await_transition(self, seconds: float) -> bool:
        """Wait until no transition is under way and allow no more; return whether that is so."""
        return self._in_transition.acquire(timeout=seconds)

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        wanted = request.transition.label or request.transition.id
        if not self._in_transition.acquire(blocking=False):
            self.get_logger().warning(f'transition {wanted} refused: another is under way')
            return response
        try:
            return self._change_state(request, response)
        except RuntimeError as error:  # rclpy's RCLError
            self.get_logger().warning(
                f'transition {wanted} refused: it does not fit the state of the node ({error})'
            )
            return response
        finally:
            self._in_transition.release()
