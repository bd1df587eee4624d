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
"""What the answers of a runtime must be before anyone uses them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed, SelfTestFailed
from sqz_perception.inference.backend import Backend
from sqz_perception.model.network import Model, self_test_picture, trace

# How far a runtime's logits may be from the file's, root mean square, in parts of theirs. Right
# runtimes were seen to differ by at most 1e-5 in fp32, 0.009 in bf16 and 0.016 in int8 (0.03 where
# all values are signed); a runtime that dropped the ReLUs by 0.14 to 0.97, one that exchanged the
# filters of one layer by 0.18 to 1.3. The largest of the differences, which is mostly noise, tells
# them apart less well.
SELF_TEST_TOLERANCE = {'fp32': 0.01, 'bf16': 0.05, 'int8': 0.1}


MEMINFO = Path('/proc/meminfo')
# Bytes that loading takes at most, seen with two candidates of 67 million weights in fp32.
BYTES_PER_PARAMETER, BYTES_PER_VALUE = 16, 8


def check_memory(model: Model) -> None:
    """Raise BackendFailed where compiling and running ``model`` may exhaust the memory."""
    values = sum(math.prod(shape) for shape in trace(model).values())
    needed = BYTES_PER_PARAMETER * model.parameters + BYTES_PER_VALUE * values
    available = available_memory()
    if available is not None and needed > available:
        raise BackendFailed(
            f'{model.name} needs about {needed / 2**20:,.0f} MiB and {available / 2**20:,.0f} MiB '
            'are available; free memory or use a smaller model'
        )


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, None where the system does not tell."""
    try:
        found = re.search(r'^MemAvailable:\s+(\d+) kB$', MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None


def checked_logits(
    backend: Backend, picture: NDArray[np.uint8], classes: int
) -> NDArray[np.float32]:
    """
    Return the logits (classes,) of ``picture``, uint8 (height, width, 3) in BGR.

    Raises BackendFailed, also where they are of another shape or not finite.
    """
    logits = backend.logits(picture)
    if logits.shape != (classes,):
        raise BackendFailed(
            f'{backend.description}: gives logits of shape {logits.shape} for {classes} labels; '
            'use another model'
        )
    if not np.isfinite(logits).all():
        raise BackendFailed(
            f'{backend.description}: gives logits that are not finite; '
            'use another model or set precision to fp32'
        )
    return logits


def self_test(model: Model, backend: Backend, proceed: Callable[[], None] = lambda: None) -> float:
    """
    Compare the answers of ``backend`` with the model's own; return their distance.

    That is the root mean square of the differences of all logits, in parts of the expected ones'.
    ``proceed`` is called before each question and may raise. Raises SelfTestFailed where the
    distance exceeds the tolerance of the backend's precision.
    """
    test = model.self_test
    if not test.seeds:
        return 0.0
    answers = []
    for seed, classes in zip(test.seeds, test.classes, strict=True):
        proceed()
        answers.append(backend.logits(self_test_picture(seed, model.input))[list(classes)])
    expected = np.concatenate(test.int8 if backend.precision == 'int8' else test.logits)
    scale = max(float(np.linalg.norm(expected)), 1e-6)
    deviation = float(np.linalg.norm(np.concatenate(answers) - expected)) / scale
    tolerance = SELF_TEST_TOLERANCE[backend.precision]
    if not deviation <= tolerance:  # NaN fails too
        raise SelfTestFailed(
            f'{backend.description}: the self-test of {model.name} is off by {deviation:.3g} of '
            f'its logits, {tolerance} is allowed; try another backend or precision'
        )
    return deviation
