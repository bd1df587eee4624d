# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How every node of this package starts, spins and ends: no traceback, a true exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

import rclpy
from rclpy.exceptions import ParameterException
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
    rclpy.init(args=arguments if arguments is not None else sys.argv)
    node = None
    try:
        node = create()
        spinner = executor()
        spinner.add_node(node)
        spinner.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (SqzError, ParameterException, ValueError) as error:
        log = node.get_logger() if node is not None else get_logger('sqz_perception')
        log.fatal(str(error).strip())
        return 1
    finally:
        if node is not None:
            getattr(node, 'stop', lambda: None)()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
