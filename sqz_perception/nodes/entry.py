# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Entry points of the executables.

Imports take most of a second in which a Ctrl-C would print a traceback; here it just ends.
"""

from __future__ import annotations

import importlib
import os
import signal


def classifier_node() -> int:
    """Run the classifier; return its exit code."""
    return _main('classifier_node')


def image_source_node() -> int:
    """Run the image source; return its exit code."""
    return _main('image_source_node')


def _main(node: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    module = importlib.import_module(f'sqz_perception.nodes.{node}')
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return module.main()
    except KeyboardInterrupt:  # before rclpy took over, or after it let go
        return 0
