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
The encoder's choices: tables and contexts that make an array small.

Nothing here decides what a file means, so floating point is welcome.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sqz_perception.model.contexts import UNIT, Contexts, Grid, Neighbours
from sqz_perception.model.tables import (
    DEEPEST,
    MAX_DETAIL,
    MAX_GRAIN,
    OCTAVE,
    SCALE_BITS,
    Table,
    knots,
)

DETAILS = (1, 2, 3, MAX_DETAIL)
NEWTON_STEPS, LEAST_GAIN, DAMPING = 20, 0.1, 1e-3  # nats; keeps empty knots from running away
# How often a symbol that did not come is taken to have come, and octaves from the highest knot to
# the lowest. The first is for smooth counts, and sure to leave each symbol a frequency; the second
# gives none to symbols where nothing came.
SMOOTHINGS = ((0.3, DEEPEST - 4), (0.001, DEEPEST + 8))
TABLE_BITS = 120  # what a table costs, roughly, when contexts are compared
ORDERS = np.arange(8)[:, None]  # of Exp-Golomb codes
SIGN_CLASSES, MAGNITUDE_CLASSES = (0, 1, 2, 3), (1, 2, 3, 4, 6)

Integers = NDArray[np.int64]
Array = NDArray[np.float64]


def bits(symbols: Integers, table: Table) -> float:
    """Return what ``symbols`` and their table cost, in bits."""
    counts = _counts(symbols, table.below, table.above)
    return table.bits + _data_bits(counts, table)


def fit(symbols: Integers) -> Table:
    """Return the table with which ``symbols`` and the table itself take the fewest bits."""
    below = max(int(-symbols.min()), 0) if symbols.size else 0
    above = max(int(symbols.max()), 0) if symbols.size else 0
    if below == above == 0:
        return Table(0, 0)
    counts = _counts(symbols, below, above)
    best, least = Table(0, 0), float('inf')
    for heights, detail in _heights(counts, below, above):
        for grain in range(MAX_GRAIN + 1):
            rises = np.diff(np.rint(heights * OCTAVE / 2**grain)).astype(np.int64)
            table = Table(below, above, detail, grain, _order(rises), tuple(rises.tolist()))
            if table.bits >= least:  # whatever the symbols then take
                continue
            spent = table.bits + _data_bits(counts, table)
            if spent < least:
                best, least = table, spent
    return best


def contexts(grid: Grid, planes: Integers) -> Contexts | None:
    """Return the contexts that promise most for ``planes``, or None where they gain nothing."""
    symbols = planes.reshape(-1)
    best, least = None, _entropy(symbols, np.zeros_like(symbols)) + TABLE_BITS
    for how, context, sign in _candidates(grid, planes):
        spent = _entropy(symbols * sign, context) + how.count * TABLE_BITS
        if spent < least:
            best, least = how, spent
    return best


def _candidates(grid: Grid, planes: Integers) -> Iterator[tuple[Contexts, Integers, Integers]]:
    """Yield contexts to try, each symbol's context in them, and the sign it is coded with."""
    prior = int(np.rint(UNIT * np.abs(planes).mean()))
    neighbours = Neighbours(grid, planes)
    total, score = [], []
    for index in range(grid.count):
        total.append(neighbours.signed(index))
        score.append(neighbours.magnitude(index, prior) // (index + 1))
    signed, magnitude = np.concatenate(total), np.concatenate(score)
    size, sign = np.abs(signed), np.where(signed < 0, -1, 1)
    by_signs = [_quantiles(size[size > 0], n - 1) if n else None for n in SIGN_CLASSES]
    by_magnitudes = [_quantiles(magnitude, n - 1) for n in MAGNITUDE_CLASSES]
    for signs, magnitudes in dict.fromkeys(product(by_signs, by_magnitudes)):
        by_sign = np.zeros_like(size)
        if signs is not None:
            by_sign = (size > 0) + np.searchsorted(signs, size, 'left') * (size > 0)
        by_magnitude = np.searchsorted(magnitudes, magnitude, 'right')
        context = by_sign * (1 + len(magnitudes)) + by_magnitude
        flips = np.ones_like(sign) if signs is None else sign
        yield Contexts(signs, prior, magnitudes), context, flips


def _quantiles(values: Integers, count: int) -> tuple[int, ...]:
    """Return up to ``count`` different values that cut ``values`` into equal parts."""
    if count < 1 or not values.size:
        return ()
    cuts = np.quantile(values, np.arange(1, count + 1) / (count + 1), method='higher')
    return tuple(sorted({int(cut) for cut in cuts}))


def _entropy(symbols: Integers, context: Integers) -> float:
    """Return the bits of ``symbols`` if each context had its own frequencies for nothing."""
    lowest = symbols.min()
    width = int(symbols.max() - lowest) + 1
    joint = np.bincount(context * width + symbols - lowest).astype(np.float64)
    joint = np.pad(joint, (0, -len(joint) % width)).reshape(-1, width)
    sums = joint.sum(1)
    parts = [joint[joint > 0], sums[sums > 0]]
    inner, outer = (float((part * np.log2(part)).sum()) for part in parts)
    return outer - inner


def _counts(symbols: Integers, below: int, above: int) -> Array:
    return np.bincount(symbols + below, minlength=below + above + 1).astype(np.float64)


def _data_bits(counts: Array, table: Table) -> float:
    """Return the bits of so many of each symbol: infinite if one came that never comes."""
    seen, frequencies = counts > 0, table.frequencies()
    if not frequencies[seen].all():
        return float('inf')
    return float((counts[seen] * (SCALE_BITS - np.log2(frequencies[seen]))).sum())


def _order(rises: Integers) -> int:
    """Return the order in which the Exp-Golomb codes of ``rises`` take the fewest bits."""
    zigzag = np.where(rises < 0, -2 * rises - 1, 2 * rises)
    lengths = np.frexp(zigzag + 2.0**ORDERS)[1]  # in bits, of numbers that a float64 holds exactly
    return int(np.argmin((2 * lengths - ORDERS).sum(1)))


def _heights(counts: Array, below: int, above: int) -> Iterator[tuple[Array, int]]:
    """Yield log2 frequencies at the knots, and the knots' detail."""
    for detail in DETAILS:
        came = counts[knots(below, above, detail) + below] > 0
        for unseen, fall in SMOOTHINGS:
            heights = _likeliest(counts + unseen, below, above, detail)
            lowest = np.where(came, min(fall, DEEPEST - 1), fall)
            yield np.maximum(heights, heights.max() - lowest), detail


def _likeliest(counts: Array, below: int, above: int, detail: int) -> Array:
    """Return log2 frequencies at the knots that make ``counts`` likeliest, by Newton's method."""
    at, symbols = knots(below, above, detail), np.arange(-below, above + 1)
    start = np.log(counts)
    if len(at) == len(symbols):
        return start / np.log(2)
    shares = np.stack([np.interp(symbols, at, row) for row in np.eye(len(at))], axis=1)
    root = counts**0.5
    height = np.linalg.lstsq(shares * root[:, None], start * root, rcond=None)[0]
    loss, likely = _loss(counts, shares @ height)
    for _ in range(NEWTON_STEPS):
        change = _newton(counts, shares, likely)
        for scale in 0.5 ** np.arange(10):
            tried, likely = _loss(counts, shares @ (height - scale * change))
            if tried <= loss:
                break
        else:
            return height / np.log(2)
        height, gained, loss = height - scale * change, loss - tried, tried
        if gained < LEAST_GAIN:
            break
    return height / np.log(2)


def _newton(counts: Array, shares: Array, likely: Array) -> Array:
    """Return Newton's step, from ``_loss``'s first two derivatives in the knots' heights."""
    mean = shares.T @ likely
    slope = counts.sum() * mean - counts @ shares
    bend = counts.sum() * (shares.T @ (shares * likely[:, None]) - np.outer(mean, mean))
    return np.linalg.solve(bend + DAMPING * np.eye(len(mean)), slope)


def _loss(counts: Array, heights: Array) -> tuple[float, Array]:
    """Return the nats of ``counts`` under exp(``heights``), and the probabilities."""
    weights = np.exp(heights - heights.max())
    likely = weights / weights.sum()
    return -float((counts * np.log(np.maximum(likely, 1e-300))).sum()), likely
