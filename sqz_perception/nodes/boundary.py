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
The last catch around every callback of a node: an exception is logged, and the node keeps running.

It stands in the executor, so it also holds for rclpy's own services: lifecycle, parameters, type
descriptions. rclpy itself ends the node at the first exception and leaves the caller without an
answer.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
)
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.service import Service

LOG_THROTTLE = 10.0  # seconds between two log lines of one kind
# Seconds between two answers of one service. A client has room for ten answers by default: more in
# one burst get lost.
ANSWER_PERIOD = 5e-3


class Boundary:
    """Mixin for an executor, to be named before the executor's own class."""

    def wait_for_ready_callbacks(self, *args: Any, **kwargs: Any) -> Any:
        """Return the next (task, entity, node); the task raises nothing but a shutdown."""
        task, entity, node = super().wait_for_ready_callbacks(*args, **kwargs)  # type: ignore[misc]
        if isinstance(entity, Service) and not isinstance(entity.callback, _Answer):
            entity.callback = _Answer(entity, node)
        return _Contained(task, entity, node), entity, node

    def _make_handler(
        self, entity: Any, node: Node, take: Callable[[Any], Any], *rest: Any
    ) -> Any:
        """Wrap ``take``: an exception in it would lock the entity's callback group for ever."""

        def contained_take(entity: Any) -> Any:
            try:
                return take(entity)
            except Exception as error:
                _log(node, f'cannot read from {_name(entity)}', error)
                return None

        return super()._make_handler(entity, node, contained_take, *rest)  # type: ignore[misc]


class BoundedExecutor(Boundary, SingleThreadedExecutor):
    """A single-threaded executor that survives the exceptions of its callbacks."""


class _Contained:
    """A task of an executor. Its exception is logged; only a shutdown is passed on."""

    def __init__(self, task: Any, entity: Any, node: Node | None) -> None:
        self._task, self._entity, self._node = task, entity, node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def __call__(self) -> None:
        self._task()
        error = self._task.exception()
        if error is not None and self.exception() is None:
            _log(self._node, f'{_name(self._entity)} failed', error)

    def exception(self) -> Exception | None:
        error = self._task.exception()
        return error if isinstance(error, (ExternalShutdownException, ShutdownException)) else None

    def result(self) -> Any:
        error = self.exception()
        if error is not None:
            raise error


class _Answer:
    """The callback of a service, with a refusal as its answer where it raises."""

    def __init__(self, service: Service, node: Node) -> None:
        self._service, self._node = service, node
        self._callback: Callable[[Any, Any], Any] = service.callback
        self._lock = threading.Lock()
        self._earliest = 0.0  # time.monotonic() of the next answer

    def __call__(self, request: Any, response: Any) -> Any:
        self._wait_for_turn()
        try:
            return self._callback(request, response)
        except Exception as error:
            _log(self._node, f'{_name(self._service)} refused a request', error)
            return refusal(request, response, f'{type(error).__name__}: {error}')

    def _wait_for_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._earliest)
            self._earliest = turn + ANSWER_PERIOD
        time.sleep(turn - now)


def refusal(request: Any, response: Any, reason: str) -> Any:
    """Return a response of the type of ``response`` that says no, and why where it has a field."""
    if isinstance(response, SetParameters.Response):  # those before were set, and say so
        refused = SetParametersResult(successful=False, reason=reason)
        missing = len(request.parameters) - len(response.results)
        response.results = [*response.results, *[refused] * missing]
        return response
    fresh = type(response)()  # its flags are false; the old one may be half filled
    answer = getattr(fresh, 'result', fresh)  # set_parameters_atomically
    for field in ('message', 'reason', 'failure_reason'):
        if hasattr(answer, field):
            setattr(answer, field, reason)
    return fresh


def _log(node: Node | None, what: str, error: BaseException) -> None:
    if node is not None and not node.context.ok():
        return  # told to stop: what fails on the way is no news
    log = node.get_logger() if node is not None else get_logger('sqz_perception')
    if isinstance(error, InvalidHandle):
        log.debug(f'{what}: destroyed meanwhile')
        return
    text = ' '.join(f'{what}: {type(error).__name__}: {error}'.split())
    log.error(text, throttle_duration_sec=LOG_THROTTLE)
    log.debug(''.join(traceback.format_exception(error)))


def _name(entity: Any) -> str:
    for attribute in ('srv_name', 'topic'):
        if hasattr(entity, attribute):
            return str(getattr(entity, attribute))
    return type(entity).__name__.lower()
