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
"""Steps on a grid: the same numbers everywhere, and nothing else is taken for one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqz_perception.model.steps import (
    MANTISSAS,
    MAX_CODE,
    MIN_CODE,
    code_of,
    nearest_code,
    step_of,
)


def test_every_code_comes_back() -> None:
    codes = np.arange(MIN_CODE, MAX_CODE + 1)
    steps = step_of(codes)
    assert steps.dtype == np.float32
    assert (np.diff(steps) > 0).all()
    assert np.array_equal(code_of(steps), codes)
    assert np.allclose(np.log2(steps.astype(np.float64)) * 8, codes, atol=1e-6)


def test_the_constants_are_the_nearest_to_the_eighth_roots() -> None:
    assert np.array_equal(MANTISSAS, (2.0 ** (np.arange(8) / 8)).astype(np.float32))
    assert [float(step_of(code)) for code in (0, -8, 8, -3)] == [
        *(1.0, 0.5, 2.0, 0.7711054086685181)
    ]


@pytest.mark.parametrize('step', [0.3, 0.0, -1.0, np.inf, np.nan, 1e-40, 1.0000001])
def test_other_numbers_have_no_code(step: float) -> None:
    assert code_of(np.float32([0.5, step])) is None


@given(st.floats(1e-30, 1e30))
def test_the_nearest_code_is_within_a_sixteenth_of_an_octave(step: float) -> None:
    assert abs(np.log2(step_of(nearest_code(step)) / step)) <= 1 / 16 + 1e-6
