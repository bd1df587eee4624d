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
"""How every node of this package starts, spins and ends: no traceback, a true exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sqz_perception.errors import SqzError

Over: TypeAlias = 'SimpleQueue[int | Exception]'
LOOK_EVERY = 0.5  # seconds between two looks for a signal that came just before a wait
END_WITHIN = 2.0  # seconds from a signal or a shutdown to the end of the process


def run(
    create: Callable[[], Node],
    executor: Callable[[Any], Executor],
    arguments: list[str] | None = None,
) -> int:
    """
    Spin the node that ``create`` returns until it is told to stop; return the exit code.

    0 after SIGINT, SIGTERM or a shutdown of the node's own, whenever it comes. 1 when the node
    could not do its work, with one line in the log that says why. A node may have a method
    ``start``, which runs in a thread of the executor and returns whether it succeeded, and a
    method ``stop``, which ends the node's threads and returns whether all have ended.
    """
    over: Over = SimpleQueue()  # what ended the node: an exit code or an error, the first counts
    _on_signals(lambda *_: over.put(0))
    code, ended = _serve(create, executor, arguments, over)
    if not ended:
        gc.collect()  # with the last reference to the node, ROS removes its shared memory
        _exit_now(code)
    _on_signals(signal.SIG_IGN)  # nothing cuts the rest short: under launch, Ctrl-C comes twice
    return code


def _serve(
    create: Callable[[], Node],
    executor: Callable[[Any], Executor],
    arguments: list[str] | None,
    over: Over,
) -> tuple[int, bool]:
    """Return the exit code, and whether all threads of the node have ended."""
    node: Any = None
    spinning: threading.Thread | None = None
    code = 1
    try:
        # Without rclpy's signal handlers: they shut ROS down in the middle of whatever it does.
        rclpy.init(
            args=arguments if arguments is not None else sys.argv,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        node = create()
        spinning = _spin(node, executor(node), over)
        outcome = _wait_for(over)
        code = outcome if isinstance(outcome, int) else _report(outcome, node)
    except Exception as error:
        code = _report(error, node) if over.empty() else 0
    return code, _end(node, spinning, code)


def _spin(node: Any, executor: Executor, over: Over) -> threading.Thread:
    """Spin in the returned thread: the main thread is for the signals."""

    def begin() -> None:
        try:
            if not node.start():
                over.put(1)  # it has logged why
        except Exception as error:
            over.put(error)

    def spin() -> None:
        try:
            executor.spin()
            over.put(0)
        except ExternalShutdownException:
            over.put(0)
        except SystemExit as end:
            over.put(int(end.code or 0))
        except Exception as error:
            over.put(error)

    executor.add_node(node)
    if hasattr(node, 'start'):
        executor.create_task(begin)
    thread = threading.Thread(target=spin, name='spin', daemon=True)
    thread.start()
    return thread


def _wait_for(over: Over) -> int | Exception:
    """Return what ended the node. A signal just before a wait is only handled after it."""
    while True:
        with suppress(Empty):
            return over.get(timeout=LOOK_EVERY)


def _report(error: Exception, node: Node | None) -> int:
    """Log why the node ends; return its exit code."""
    log = node.get_logger() if node is not None else get_logger('sqz_perception')
    log.fatal(_in_one_line(error))
    log.debug(''.join(traceback.format_exception(error)))
    return 1


def _end(node: Any, spinning: threading.Thread | None, code: int) -> bool:
    """
    Stop the node and ROS, within END_WITHIN seconds; return whether all threads have ended.

    A thread may be inside a library that can't be interrupted, as in the middle of a load. The
    process then ends without waiting for it.
    """
    limit = threading.Timer(END_WITHIN, _exit_now, (code,))
    limit.daemon = True
    limit.start()
    ended = _quietly(getattr(node, 'stop', lambda: True))
    _quietly(rclpy.try_shutdown)
    if spinning is not None:
        spinning.join()
    if node is not None:
        _quietly(node.destroy_node)
    limit.cancel()
    return ended is not False


def _quietly(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except Exception as error:
        get_logger('sqz_perception').debug(f'{type(error).__name__} at the end: {error}')
        return None


def _exit_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _in_one_line(error: Exception) -> str:
    """Return what the log says: our errors and those of a user's arguments explain themselves."""
    text = ' '.join(str(error).split())
    if isinstance(error, (SqzError, ParameterException, NameValidationException, ValueError)):
        return text
    return f'{type(error).__name__}: {text} (--ros-args --log-level debug tells more)'


def _on_signals(handler: Any) -> None:
    """Let ``handler`` handle SIGINT and SIGTERM."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)
