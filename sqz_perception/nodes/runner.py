# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How every node of this package starts, spins and ends: no traceback, a true exit code."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.logging import get_logger
from rclpy.node import Node

from sqz_perception.errors import SqzError


def run(
    create: Callable[[], Node],
    executor: Callable[[], Executor],
    arguments: list[str] | None = None,
) -> int:
    """
    Spin the node that ``create`` returns until it is told to stop; return the exit code.

    0 after Ctrl-C, SIGTERM or a shutdown of its own; 1 when it could not do its work, with one
    line in the log that says why. A node may have a method ``stop`` that ends its threads.
    """
    node, initialized = None, False
    try:
        rclpy.init(args=arguments if arguments is not None else sys.argv)
        initialized = True
        node = create()
        spinner = executor()
        spinner.add_node(node)
        spinner.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        if initialized and not rclpy.ok():
            return 0  # told to stop while it still started: what fails then is no news
        log = node.get_logger() if node is not None else get_logger('sqz_perception')
        log.fatal(_in_one_line(error))
        log.debug(traceback.format_exc())
        return 1
    finally:
        _ignore_interrupts()
        if node is not None:
            getattr(node, 'stop', lambda: None)()
            node.destroy_node()
        rclpy.try_shutdown()
        _ignore_interrupts()  # again: the shutdown put Python's own handler back
    return 0


def _in_one_line(error: Exception) -> str:
    """Return what the log says: our errors and those of a user's arguments explain themselves."""
    text = ' '.join(str(error).split())
    if isinstance(error, (SqzError, ParameterException, NameValidationException, ValueError)):
        return text
    return f'{type(error).__name__}: {text} (--ros-args --log-level debug tells more)'


def _ignore_interrupts() -> None:
    """Let nothing cut the end short: under launch, a Ctrl-C arrives twice."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
