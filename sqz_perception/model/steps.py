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
Steps on a grid: eight to an octave, so that each is a small whole number in the file.

The step of code k is MANTISSAS[k mod 8] * 2^(k div 8), a float32 that is exact on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PER_OCTAVE = 8
# the float32 nearest to 2^(i / 8)
MANTISSAS = np.array(
    [
        *(1.0, 1.0905077457427979, 1.189207077026367, 1.2968395948410034),
        *(1.4142135381698608, 1.5422108173370361, 1.6817928552627563, 1.8340080976486206),
    ],
    np.float32,
)
MIN_CODE, MAX_CODE = -126 * PER_OCTAVE, 128 * PER_OCTAVE - 1  # normal float32 numbers


def step_of(code: NDArray[np.integer] | int) -> NDArray[np.float32]:
    """Return the step of each code, from MIN_CODE to MAX_CODE: float32 of the same shape."""
    octave, index = np.divmod(np.asarray(code, np.int64), PER_OCTAVE)
    return np.ldexp(MANTISSAS[index], octave.astype(np.int32))


def code_of(step: NDArray[np.float32]) -> NDArray[np.int64] | None:
    """Return the code of each step, or None where one is not exactly on the grid."""
    step = np.asarray(step, np.float32)
    if not (np.isfinite(step) & (step >= np.finfo(np.float32).tiny)).all():
        return None
    code = nearest_code(step)
    return code if np.array_equal(step_of(code), step) else None


def nearest_code(step: NDArray[np.floating] | float) -> NDArray[np.int64]:
    """Return the code whose step is nearest to each positive ``step``, by ratio."""
    code = np.rint(PER_OCTAVE * np.log2(np.asarray(step, np.float64))).astype(np.int64)
    return np.clip(code, MIN_CODE, MAX_CODE)
