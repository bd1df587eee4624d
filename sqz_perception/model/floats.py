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
Floating-point numbers <-> small whole numbers, which the coder compresses, and raw bits.

==========  =============================================  =======================================
form        symbol                                         raw bits
==========  =============================================  =======================================
SPLIT       2 * exponent + sign                            the mantissa (23 bits; float16: 10)
STEPS       the code of a step, see ``steps.py``           none
ASCENDING   bits of the rise from the number before        the rise without its leading one
==========  =============================================  =======================================

ASCENDING is for sorted float32: a number's bits, the sign's flipped where it is positive and all
where it is negative, make an unsigned number that rises with it; the first rises from 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model import steps

SPLIT, STEPS, ASCENDING = range(3)
FORMS = (SPLIT, STEPS, ASCENDING)
SIGN = 1 << 31

Integers = NDArray[np.int64]


class Split(NamedTuple):
    """Symbols, and raw bits with their widths: all of the same length."""

    symbols: Integers
    raw: Integers
    widths: Integers


def split(values: NDArray, form: int) -> Split | None:
    """Return ``values``, float32 or float16 (n,), in ``form``; None where they have another."""
    if form == STEPS:
        codes = steps.code_of(values) if values.dtype == np.float32 else None
        zeros = np.zeros(len(values), np.int64)
        return None if codes is None else Split(codes, zeros, zeros)
    if form == ASCENDING:
        return _ascending(values) if values.dtype == np.float32 else None
    size, mantissa = 8 * values.dtype.itemsize, mantissa_bits(values.dtype)
    bits = values.view(f'u{values.dtype.itemsize}').astype(np.int64)
    sign, magnitude = bits >> (size - 1), bits & ((1 << (size - 1)) - 1)
    raw = magnitude & ((1 << mantissa) - 1)
    symbols = 2 * (magnitude >> mantissa) + sign
    return Split(symbols, raw, np.full(len(values), mantissa, np.int64))


def widths(symbols: Integers, form: int, dtype: np.dtype) -> Integers:
    """Return the number of raw bits that each symbol has. Raises ModelInvalid."""
    if form == SPLIT:
        return np.full(len(symbols), mantissa_bits(dtype), np.int64)
    if form == STEPS:
        return np.zeros(len(symbols), np.int64)
    if symbols.min() < 0 or symbols.max() > 32:
        raise ModelInvalid('a coded rise is of an impossible number of bits')
    return np.maximum(symbols - 1, 0)


def join(
    symbols: Integers,
    raw: Integers,
    form: int,
    dtype: np.dtype,
    before: np.floating | None = None,
) -> NDArray:
    """
    Return the numbers of which ``split`` made this. Raises ModelInvalid.

    ``before``: the number in front of them, None where they are the first.
    """
    if form == STEPS:
        if symbols.min() < steps.MIN_CODE or symbols.max() > steps.MAX_CODE:
            raise ModelInvalid('a coded step is out of range')
        return steps.step_of(symbols)
    if form == ASCENDING:
        ordered = np.cumsum(np.where(symbols > 0, (1 << np.maximum(symbols - 1, 0)) + raw, 0))
        if before is not None:
            ordered += _ordered(np.array([before]))
        if ordered[-1] >= 2 * SIGN:
            raise ModelInvalid('coded numbers rise beyond the largest')
        bits = np.where(ordered >= SIGN, ordered - SIGN, 2 * SIGN - 1 - ordered)
        return bits.astype(np.uint32).view(np.float32)
    size, mantissa = 8 * dtype.itemsize, mantissa_bits(dtype)
    if symbols.min() < 0 or symbols.max() >= 1 << (size - mantissa):
        raise ModelInvalid('a coded exponent is out of range')
    bits = ((symbols & 1) << (size - 1)) | ((symbols >> 1) << mantissa) | raw
    return bits.astype(f'u{dtype.itemsize}').view(dtype)


def mantissa_bits(dtype: np.dtype) -> int:
    """Return 23 for float32, 10 for float16."""
    return int(np.finfo(dtype).nmant)


def _ascending(values: NDArray) -> Split | None:
    rises = np.diff(_ordered(values), prepend=0)
    if (rises < 0).any():
        return None
    symbols = np.frexp(rises.astype(np.float64))[1].astype(np.int64)  # exact below 2^53
    width = np.maximum(symbols - 1, 0)
    return Split(symbols, rises - np.where(rises > 0, 1 << width, 0), width)


def _ordered(values: NDArray[np.float32]) -> Integers:
    """Return for each number its unsigned one, which rises with it."""
    bits = values.view(np.uint32).astype(np.int64)
    return np.where(bits >= SIGN, 2 * SIGN - 1 - bits, bits + SIGN)
