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
Which table a level is coded with: what its decoded neighbours say of its size and its sign.

A weight tensor is coded plane by plane. A kernel larger than one pixel has a plane for each of
its positions, row by row, and a plane holds all (out, in); a kernel of one pixel has a plane for
each output channel. Neighbours lie in earlier planes only, so a whole plane's contexts are found
at once. Levels of neighbouring positions have similar magnitudes and, in trained filters, mostly
the same sign; classes that stand side by side in the last layer resemble each other too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.bits import BitReader, BitWriter

MAX_PLANES = 4096
MIN_PLANE = 64  # values; smaller planes would cost more time than they save bytes
UNIT = 16  # magnitudes are compared in sixteenths of a level
MAGNITUDE_ORDER, SIGN_ORDER = 4, 1  # of the thresholds' Exp-Golomb codes
MAX_THRESHOLD = 2**15
WHOLE = slice(None)

Planes = NDArray[np.signedinteger]  # (planes, values of a plane)


@dataclass(frozen=True)
class Grid:
    """The planes of a tensor (out, in, rows, columns), themselves in rows and columns."""

    shape: tuple[int, int, int, int]

    @property
    def is_kernel(self) -> bool:
        return self.shape[2] * self.shape[3] > 1

    @property
    def columns(self) -> int:
        return self.shape[3]  # 1 for a kernel of one pixel

    @property
    def count(self) -> int:
        return self.shape[2] * self.shape[3] if self.is_kernel else self.shape[0]

    @property
    def size(self) -> int:
        """Return the number of values in a plane."""
        return math.prod(self.shape) // self.count

    def planes(self, values: NDArray) -> NDArray:
        """Return ``values`` (out, in, rows, columns) as (planes, values of a plane)."""
        ordered = values.transpose(2, 3, 0, 1) if self.is_kernel else values
        return ordered.reshape(self.count, self.size)

    def tensor(self, planes: NDArray) -> NDArray:
        """Return the opposite of ``planes``."""
        if not self.is_kernel:
            return planes.reshape(self.shape)
        out, channels, rows, columns = self.shape
        return planes.reshape(rows, columns, out, channels).transpose(2, 3, 0, 1)


def grid_of(shape: tuple[int, ...]) -> Grid | None:
    """Return the planes of a tensor, or None where there are too few or too small ones."""
    if len(shape) != 4 or 0 in shape:
        return None
    grid = Grid((shape[0], shape[1], shape[2], shape[3]))
    return grid if 2 <= grid.count <= MAX_PLANES and grid.size >= MIN_PLANE else None


@dataclass(frozen=True)
class Contexts:
    """
    How neighbours choose the table.

    ``signs``: None to leave the neighbours' sum alone; else where its magnitude passes from one
    class to the next, sums of zero being a class of their own. ``prior`` and ``magnitudes``:
    the mean magnitude assumed before the first plane, and where it passes from one class to the
    next, in sixteenths.
    """

    signs: tuple[int, ...] | None
    prior: int
    magnitudes: tuple[int, ...]

    @property
    def count(self) -> int:
        signs = 1 if self.signs is None else 2 + len(self.signs)
        return signs * (1 + len(self.magnitudes))

    def write(self, writer: BitWriter) -> None:
        writer.bits(0 if self.signs is None else 1 + len(self.signs), 2)
        writer.bits(len(self.magnitudes), 3)
        _write_ascending(writer, self.signs or (), SIGN_ORDER)
        writer.number(self.prior, MAGNITUDE_ORDER)
        _write_ascending(writer, self.magnitudes, MAGNITUDE_ORDER)


def read(reader: BitReader) -> Contexts:
    """Return what ``Contexts.write`` wrote. Raises ModelInvalid."""
    signs, magnitudes = reader.bits(2), reader.bits(3)
    by_sign = _read_ascending(reader, max(signs - 1, 0), SIGN_ORDER)
    (prior,) = _read_ascending(reader, 1, MAGNITUDE_ORDER)
    by_magnitude = _read_ascending(reader, magnitudes, MAGNITUDE_ORDER)
    return Contexts(by_sign if signs else None, prior, by_magnitude)


def _write_ascending(writer: BitWriter, values: tuple[int, ...], order: int) -> None:
    for before, value in zip((0, *values), values, strict=False):
        writer.number(value - before, order)


def _read_ascending(reader: BitReader, count: int, order: int) -> tuple[int, ...]:
    values = tuple(accumulate(reader.number(order) for _ in range(count)))
    if values and values[-1] > MAX_THRESHOLD:
        raise ModelInvalid(f'a context threshold of {values[-1]}; at most {MAX_THRESHOLD}')
    return values


class Neighbours:
    """Walks the planes in order and says what is known of each before it is decoded."""

    def __init__(self, grid: Grid, planes: Planes) -> None:
        """``planes`` may be filled while walking: a plane is read after its turn only."""
        self._columns, self._planes = grid.columns, planes
        self._sum = np.zeros(planes.shape[1], np.int32)

    def signed(self, plane: int, part: slice = WHOLE) -> NDArray:
        """Return the sum of the left and the upper neighbour, zero where there is none."""
        row, column = divmod(plane, self._columns)
        total = np.zeros_like(self._planes[plane][part])
        if column:
            total += self._planes[plane - 1][part]
        if row:
            total += self._planes[plane - self._columns][part]
        return total

    def magnitude(self, plane: int, prior: int, part: slice = WHOLE) -> NDArray:
        """Return (plane + 1) times the mean magnitude of all planes before, in sixteenths."""
        if plane:
            self._sum[part] += np.abs(self._planes[plane - 1][part])
        return UNIT * self._sum[part] + prior

    def contexts(
        self, plane: int, how: Contexts, part: slice = WHOLE
    ) -> tuple[NDArray[np.int64], NDArray | None]:
        """
        Return for each value of ``plane`` its context and, if signs count, where to flip.

        ``part`` of the plane; every part of every plane must have its turn, once.
        """
        score = self.magnitude(plane, how.prior, part)
        context = np.zeros(len(score), np.int64)
        flip = None
        if how.signs is not None:
            total = self.signed(plane, part)
            size = np.abs(total)
            flip = total < 0
            context += size > 0
            for threshold in how.signs:
                context += size > threshold
            context *= 1 + len(how.magnitudes)
        for threshold in how.magnitudes:
            context += score >= threshold * (plane + 1)
        return context, flip
