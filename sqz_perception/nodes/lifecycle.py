# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions that say why they fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from sqz_perception.errors import SqzError

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def told(transition: Transition) -> Transition:
    """Log why a transition fails; rclpy drops its exception without a word."""

    @wraps(transition)
    def tell(node: LifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except (SqzError, InvalidTopicNameException) as error:
            node.get_logger().error(' '.join(str(error).split()))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            node.get_logger().error(f'{type(error).__name__}: {error}; please report this')
            return TransitionCallbackReturn.ERROR

    return tell
