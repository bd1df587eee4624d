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
"""The command-line options of every command that runs a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sqz_perception.inference.backend import PRECISIONS, Runtime


def add_runtime(parser: argparse.ArgumentParser, backends: Sequence[str] | None = None) -> None:
    """Ask for the runtime; a backend that is none of ``backends`` is a bad argument."""
    parser.add_argument(
        '--backend', default='auto', choices=backends, help='auto, openvino or onnxruntime'
    )
    parser.add_argument('--precision', default='auto', choices=PRECISIONS)
    parser.add_argument(
        '--threads', type=count, default=2, help='0: as the runtime likes (default: 2)'
    )


def runtime(options: argparse.Namespace) -> Runtime:
    """Return what ``add_runtime`` asked for."""
    return Runtime(options.backend, options.precision, options.threads)


def count(text: str) -> int:
    """Return a whole number from 0, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{text} is negative')
    return value
