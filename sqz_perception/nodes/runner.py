# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How every node of this package starts, spins and ends: no traceback, a true exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node

from sqz_perception.errors import SqzError

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
    ``start``, which runs in a thread of the executor, an attribute ``exit_code``, and a method
    ``stop``, which ends the node's threads and returns whether all have ended.
    """
    signalled = _catch_signals()
    node: Any = None
    code = 0
    try:
        rclpy.init(args=arguments if arguments is not None else sys.argv)
        if not signalled.is_set():  # else it came before rclpy had its handlers
            node = create()
            _spin(node, executor(node))
            code = getattr(node, 'exit_code', 0)
    except ExternalShutdownException:
        pass
    except SystemExit as end:
        code = int(end.code or 0)
    except Exception as error:
        code = _report(error, node, signalled.is_set())
    finally:
        _end(node, code)
    return code


def _spin(node: Any, executor: Executor) -> None:
    executor.add_node(node)
    if hasattr(node, 'start'):
        executor.create_task(node.start)
    executor.spin()


def _report(error: Exception, node: Node | None, signalled: bool) -> int:
    """Log why the node ends and return its exit code: 0 if it was told to stop anyway."""
    context = rclpy.get_default_context()
    if signalled or (node is not None and not context.ok()):
        return 0
    log = node.get_logger() if node is not None else get_logger('sqz_perception')
    log.fatal(_in_one_line(error))
    log.debug(traceback.format_exc())
    return 1


def _end(node: Any, code: int) -> None:
    """
    Stop the node and ROS, within END_WITHIN seconds.

    A thread may be inside a library that can't be interrupted, as in the middle of a load. The
    process then ends without waiting for it.
    """
    limit = threading.Timer(END_WITHIN, _exit_now, (code,))
    limit.daemon = True
    limit.start()
    ended = True
    try:
        if node is not None:
            ended = getattr(node, 'stop', lambda: True)()
            node.destroy_node()
        rclpy.try_shutdown()
    except Exception as error:
        get_logger('sqz_perception').debug(f'{type(error).__name__} at the end: {error}')
    _ignore_signals()  # the shutdown gave them back to Python
    if not ended:
        _exit_now(code)
    limit.cancel()


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


def _catch_signals() -> threading.Event:
    """
    Return an event that SIGINT and SIGTERM set from now on, in place of a KeyboardInterrupt.

    rclpy's own handlers shut ROS down, which ends the spinning, and then call these.
    """
    signalled = threading.Event()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: signalled.set())
    return signalled


def _ignore_signals() -> None:
    """Let nothing cut the end short: under launch, a Ctrl-C arrives twice."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
