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
Entry points of the executables.

Imports take most of a second, in which a signal would print a traceback; here it ends the process.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading

EXIT_WITHIN = 2.0  # seconds from the end of a node to the end of its process


def classifier_node() -> int:
    """Run the classifier; return its exit code."""
    return _main('classifier_node')


def image_source_node() -> int:
    """Run the image source; return its exit code."""
    return _main('image_source_node')


def _exit_within(seconds: float, code: int) -> None:
    """End the process in any case: Python would wait for a thread that is stuck."""
    limit = threading.Timer(seconds, os._exit, (code,))
    limit.daemon = True
    limit.start()


def _main(node: str) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # until the runner has its own
    try:
        code = importlib.import_module(f'sqz_perception.nodes.{node}').main()
        _exit_within(EXIT_WITHIN, code)
        return code
    except ImportError as error:
        print(
            f'error: {error}; install what is missing: rosdep install, or pip install of the '
            'packages that the README names',
            file=sys.stderr,
        )
    except Exception as error:
        print(f'error: {type(error).__name__}: {error}; please report this', file=sys.stderr)
    return 1
