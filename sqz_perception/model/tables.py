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
How often each symbol comes: a few numbers in the file -> a table of whole frequencies.

The file gives the logarithm of the frequency at some symbols, the knots; between two knots it
runs in a straight line. Knots are the symbols with few significant bits: all near zero, ever
sparser away from it. The frequencies are made to sum here, so no file can hold a table that does
not. Everything is integer arithmetic: the same table on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.bits import BitReader, BitWriter, number_bits, zigzag

SCALE_BITS = 14
TOTAL = 1 << SCALE_BITS  # the sum of a table's frequencies
MAX_REACH = 1023  # the farthest symbol from zero
MAX_DETAIL = 8  # significant bits
MAX_GRAIN = 4
OCTAVE = 16  # steps of the logarithm
DEEPEST = 20  # octaves: a symbol so far below the most frequent one never comes
RANGE_ORDER = 3  # of the Exp-Golomb codes of the first and the last symbol
# round(2^(31 - i / 16))
POWERS = np.array(
    [
        *(2147483648, 2056437387, 1969251188, 1885761398, 1805811301, 1729250827, 1655936265),
        *(1585730000, 1518500250, 1454120821, 1392470869, 1333434672, 1276901417, 1222764986),
        *(1170923762, 1121280436),
    ],
    np.int64,
)


@dataclass(frozen=True)
class Table:
    """
    The frequencies of the symbols -below .. above.

    ``rises``: from each knot to the next, in 2^grain / 16 octaves; none where there is only one
    symbol, which costs nothing.
    """

    below: int
    above: int
    detail: int = 1  # significant bits of a knot, 1 to MAX_DETAIL
    grain: int = 0  # 0 to MAX_GRAIN
    order: int = 0  # of the rises' Exp-Golomb codes, 0 to 7
    rises: tuple[int, ...] = ()

    def frequencies(self) -> NDArray[np.int64]:
        """Return the frequency of each symbol; they sum to TOTAL."""
        return frequencies(self.below, self.above, self.detail, self.grain, self.rises)

    @property
    def bits(self) -> int:
        """Return what the table itself costs in the file."""
        ends = sum(number_bits(reach, RANGE_ORDER) for reach in (self.below, self.above))
        if not self.rises:
            return ends
        return ends + 9 + sum(number_bits(zigzag(rise), self.order) for rise in self.rises)

    def write(self, writer: BitWriter) -> None:
        for reach in (self.below, self.above):
            writer.number(reach, RANGE_ORDER)
        if not self.rises:
            return
        for value in (self.detail - 1, self.grain, self.order):
            writer.bits(value, 3)
        for rise in self.rises:
            writer.signed(rise, self.order)


def read(reader: BitReader) -> Table:
    """Return the next table. Raises ModelInvalid where its numbers are out of range."""
    below, above = reader.number(RANGE_ORDER), reader.number(RANGE_ORDER)
    if max(below, above) > MAX_REACH:
        raise ModelInvalid(f'a table of the symbols {-below} to {above}; at most {MAX_REACH}')
    if below == above == 0:
        return Table(0, 0)
    detail, grain, order = (reader.bits(3) for _ in range(3))
    if grain > MAX_GRAIN:
        raise ModelInvalid(f'a table has the grain {grain}; at most {MAX_GRAIN}')
    count = len(knots(below, above, detail + 1)) - 1
    rises = tuple(reader.signed(order) for _ in range(count))
    return Table(below, above, detail + 1, grain, order, rises)


def knots(below: int, above: int, detail: int) -> NDArray[np.int64]:
    """Return the symbols whose frequency is stored: the two ends, and the simple ones between."""
    symbols = np.arange(-below, above + 1)
    magnitude = np.abs(symbols)
    length = np.frexp(magnitude.astype(np.float64))[1]  # bits; exact for whole numbers
    simple = magnitude % (1 << np.maximum(length - detail, 0)) == 0
    simple[[0, -1]] = True
    return symbols[simple]


def frequencies(
    below: int, above: int, detail: int, grain: int, rises: tuple[int, ...]
) -> NDArray[np.int64]:
    """
    Return whole frequencies of sum TOTAL, from the logarithms' ``rises`` between the knots.

    Symbols that never come have 0, all others at least 1.
    """
    at = knots(below, above, detail)
    heights = np.cumsum([0, *rises]) << grain
    symbols = np.arange(-below, above + 1)
    left = np.minimum(np.searchsorted(at, symbols, 'right') - 1, max(len(at) - 2, 0))
    right = np.minimum(left + 1, len(at) - 1)
    way, length = symbols - at[left], np.maximum(at[right] - at[left], 1)
    height = heights[left] + (heights[right] - heights[left]) * way // length
    octaves, rest = np.divmod(height.max() - height, OCTAVE)
    weights = POWERS[rest] >> np.minimum(octaves, DEEPEST)
    weights[octaves >= DEEPEST] = 0
    least = 5 * weights.sum() // (4 * TOTAL) + 1  # enough for a frequency of 1 after scaling
    sums = np.cumsum(np.where(weights > 0, np.maximum(weights, least), 0))
    return np.diff(sums * TOTAL // sums[-1], prepend=0)
