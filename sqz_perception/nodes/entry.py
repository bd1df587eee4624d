# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Entry points of the executables.

Imports take most of a second, in which a signal would print a traceback; here it ends the process.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys


def classifier_node() -> int:
    """Run the classifier; return its exit code."""
    return _main('classifier_node')


def image_source_node() -> int:
    """Run the image source; return its exit code."""
    return _main('image_source_node')


def _main(node: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # until the runner has its own
    try:
        return importlib.import_module(f'sqz_perception.nodes.{node}').main()
    except ImportError as error:
        print(
            f'error: {error}; install what is missing: rosdep install, or pip install of the '
            'packages that the README names',
            file=sys.stderr,
        )
    except Exception as error:
        print(f'error: {type(error).__name__}: {error}; please report this', file=sys.stderr)
    return 1
