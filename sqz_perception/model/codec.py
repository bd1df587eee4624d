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
Arrays <-> few bytes, losslessly: integer levels, codes and differences, and small floats.

All arrays of a model share one stream: the description of each (its tables and contexts), then
the range coder's states and words, then raw bits that no table could shorten. ``docs/format.md``
specifies every bit. Decoding uses integers only, so it is exact on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.model import contexts, fitting, floats, rans, tables
from sqz_perception.model.bits import BitReader, BitWriter, RawBits, pack
from sqz_perception.model.contexts import Contexts, Grid, Neighbours, grid_of
from sqz_perception.model.tables import MAX_REACH, SCALE_BITS, Table

MAX_CENTER = 2**16

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """What a decoder is told of an array: its type (int8, uint8, int16, float) and shape."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        return self.dtype.kind == 'f'

    @property
    def grid(self) -> Grid | None:
        return None if self.is_float else grid_of(self.shape)


@dataclass(frozen=True)
class Plan:
    """
    How the symbols of one array are coded: each is ``center`` more than what the tables hold.

    No tables: all symbols are ``center``. ``how`` needs a table for each of its contexts.
    """

    form: int
    center: int
    tables: tuple[Table, ...] = ()
    how: Contexts | None = None


def encode(arrays: Sequence[NDArray]) -> bytes:
    """
    Return ``arrays``, each int8, uint8, int16, float32 or float16, as one stream.

    Raise ModelInvalid where integers of one array are more than 1023 from their most common.
    """
    writer = BitWriter()
    runs: list[tuple[Integers, Integers]] = []
    raw: list[NDArray[np.int64]] = []
    widths: list[NDArray[np.int64]] = []
    for array in arrays:
        kind = Kind(array.dtype, array.shape)
        plan, symbols, bits = _plan(array, kind)
        _write_plan(writer, plan, kind)
        runs += _runs(symbols - plan.center, plan, kind)
        raw.append(bits.raw)
        widths.append(bits.widths)
    coded = sum(len(frequencies) for frequencies, _ in runs)
    words = rans.encode(runs, rans.lanes_for(coded)) if coded else b''
    tail = pack(np.concatenate(raw), np.concatenate(widths)) if raw else b''
    return writer.bytes() + words + tail


def decode(data: bytes | memoryview, kinds: Sequence[Kind]) -> list[NDArray]:
    """Return the arrays in ``data``, which must end with them. Raises a ModelError."""
    data = memoryview(data)
    reader = BitReader(data)
    plans = [_read_plan(reader, kind) for kind in kinds]
    data = data[reader.end() :]
    coded = sum(kind.size for kind, plan in zip(kinds, plans, strict=True) if plan.tables)
    decoder = rans.Decoder(data, rans.lanes_for(coded) if coded else 0)
    decoded = []
    for kind, plan in zip(kinds, plans, strict=True):
        symbols = _symbols(decoder, plan, kind)
        decoded.append(symbols if kind.is_float else _integers(symbols, plan, kind))
    tail = RawBits(data[decoder.end() :])
    arrays = [
        _floats(values, plan, kind, tail) if kind.is_float else values
        for values, plan, kind in zip(decoded, plans, kinds, strict=True)
    ]
    tail.end()
    return arrays


def costs(levels: NDArray) -> NDArray[np.float64]:
    """
    Return what each value of an integer array costs, in bits: an estimate of the same shape.

    It is exact for these ``levels`` but for the tables, the lanes and rounding, and it changes
    with them: another value would be another neighbour too.
    """
    kind = Kind(levels.dtype, levels.shape)
    plan, symbols, _ = _plan(levels, kind)
    runs = list(_runs(symbols - plan.center, plan, kind))
    if not runs:
        return np.zeros(levels.shape)
    bits = SCALE_BITS - np.log2(np.concatenate([frequencies for frequencies, _ in runs]))
    if plan.how is None or kind.grid is None:
        return bits.reshape(levels.shape)
    return kind.grid.tensor(bits.reshape(kind.grid.count, -1))


def prices(levels: NDArray, reach: int = 127) -> NDArray[np.float64]:
    """
    Return what each level from -reach to reach costs in an array like ``levels``, in bits.

    An estimate for a quantiser: the average over all contexts, with the tables of ``levels``.
    """
    table = fitting.fit(levels.reshape(-1).astype(np.int64))
    bits = np.full(2 * reach + 1, float(SCALE_BITS))
    symbols = np.arange(-table.below, table.above + 1)
    inside = np.abs(symbols) <= reach
    bits[symbols[inside] + reach] -= np.log2(np.maximum(table.frequencies()[inside], 1))
    return bits


def _plan(array: NDArray, kind: Kind) -> tuple[Plan, Integers, floats.Split]:
    """Return how ``array`` is best coded, its symbols (n,) and raw bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    nothing = np.zeros(0, np.int64)
    if not kind.is_float:
        symbols = flat.astype(np.int64)
        return _integer_plan(symbols, kind), symbols, floats.Split(symbols, nothing, nothing)
    found = []
    for form in floats.FORMS if kind.dtype == np.float32 else (floats.SPLIT,):
        parts = floats.split(flat, form)
        if parts is None:
            continue
        plan = _plain_plan(parts.symbols, form)
        if plan is None:
            continue
        found.append((_bits(parts.symbols, plan) + int(parts.widths.sum()), form, plan, parts))
    _, _, plan, parts = min(found, key=lambda option: option[:2])
    return plan, parts.symbols, parts


def _integer_plan(symbols: Integers, kind: Kind) -> Plan:
    plain = _plain_plan(symbols, floats.SPLIT)
    if plain is None:
        raise ModelInvalid(f'values more than {MAX_REACH} from the usual one can not be coded')
    if kind.grid is None or not plain.tables:
        return plain
    planes = kind.grid.planes((symbols - plain.center).reshape(kind.shape))
    how = fitting.contexts(kind.grid, planes)
    if how is None:
        return plain
    context, flipped = _contexts_of(planes, how, kind.grid)
    fitted = tuple(fitting.fit(flipped[context == i]) for i in range(how.count))
    plan = Plan(plain.form, plain.center, fitted, how)
    spent = sum(fitting.bits(flipped[context == i], table) for i, table in enumerate(fitted))
    return plan if spent < _bits(symbols, plain) else plain


def _plain_plan(symbols: Integers, form: int) -> Plan | None:
    """Return how ``symbols`` are coded with one table, or None where they lie too far apart."""
    if not symbols.size:
        return Plan(form, 0)
    values, counts = np.unique(symbols, return_counts=True)
    center = int(values[counts.argmax()])
    if max(values[-1] - center, center - values[0]) > MAX_REACH:
        return None
    if len(values) == 1:
        return Plan(form, center)
    return Plan(form, center, (fitting.fit(symbols - center),))


def _bits(symbols: Integers, plan: Plan) -> float:
    """Return what ``symbols`` cost with their one table, in bits."""
    return fitting.bits(symbols - plan.center, plan.tables[0]) if plan.tables else 0.0


def _contexts_of(planes: Integers, how: Contexts, grid: Grid) -> tuple[Integers, Integers]:
    """Return the context of each symbol and the symbol as it is coded, both flat."""
    neighbours = Neighbours(grid, planes)
    rows, flipped = [], planes.copy()
    for index in range(grid.count):
        context, flip = neighbours.contexts(index, how)
        rows.append(context)
        if flip is not None:
            np.negative(flipped[index], out=flipped[index], where=flip)
    return np.concatenate(rows), flipped.reshape(-1)


def _runs(centered: Integers, plan: Plan, kind: Kind) -> Iterator[tuple[Integers, Integers]]:
    """Yield the runs of one array: each symbol's frequency and the sum of those before it."""
    if not plan.tables:
        return
    size, context = len(centered), np.zeros(len(centered), np.int64)
    if plan.how is not None and kind.grid is not None:
        size = kind.grid.size
        planes = kind.grid.planes(centered.reshape(kind.shape))
        context, centered = _contexts_of(planes, plan.how, kind.grid)
    below = max(table.below for table in plan.tables)
    above = max(table.above for table in plan.tables)
    frequency = np.zeros((len(plan.tables), below + above + 1), np.int64)
    for row, table in zip(frequency, plan.tables, strict=True):
        row[below - table.below : below + table.above + 1] = table.frequencies()
    start = np.cumsum(frequency, axis=1) - frequency
    for first in range(0, len(centered), size):
        at = context[first : first + size], centered[first : first + size] + below
        yield frequency[at], start[at]


def _write_plan(writer: BitWriter, plan: Plan, kind: Kind) -> None:
    if kind.dtype == np.float32:
        writer.bits(plan.form, 2)
    writer.bits(not plan.tables, 1)
    writer.signed(plan.center)
    if not plan.tables:
        return
    if kind.grid is not None:
        writer.bits(plan.how is not None, 1)
        if plan.how is not None:
            plan.how.write(writer)
    for table in plan.tables:
        table.write(writer)


def _read_plan(reader: BitReader, kind: Kind) -> Plan:
    form = reader.bits(2) if kind.dtype == np.float32 else floats.SPLIT
    if form not in floats.FORMS:
        raise ModelInvalid(f'coded floats have the unknown form {form}')
    constant, center = reader.bits(1), reader.signed()
    if abs(center) > MAX_CENTER:
        raise ModelInvalid(f'coded values lie around {center}; at most {MAX_CENTER}')
    if constant:
        return Plan(form, center)
    how = contexts.read(reader) if kind.grid is not None and reader.bits(1) else None
    found = tuple(tables.read(reader) for _ in range(how.count if how else 1))
    return Plan(form, center, found, how)


def _symbols(decoder: rans.Decoder, plan: Plan, kind: Kind) -> NDArray[np.int16]:
    """Return the next array's symbols, less their center: (n,), or a tensor of planes."""
    symbols = np.zeros(kind.size, np.int16)
    if not plan.tables:
        return symbols
    lookup = rans.Lookup(plan.tables)
    if plan.how is None or kind.grid is None:
        decoder.run(lookup, None, symbols)
        return symbols
    planes = symbols.reshape(kind.grid.count, kind.grid.size)
    neighbours = Neighbours(kind.grid, planes)
    for index, plane in enumerate(planes):
        for part in _pieces(len(plane)):
            context, flip = neighbours.contexts(index, plan.how, part)
            decoder.run(lookup, context, plane[part])
            if flip is not None:
                np.negative(plane[part], out=plane[part], where=flip)
    return kind.grid.tensor(planes)


def _integers(symbols: NDArray[np.int16], plan: Plan, kind: Kind) -> NDArray:
    """Return integers of the kind's type and shape. Raises ModelInvalid where one does not fit."""
    limits = np.iinfo(kind.dtype)
    if kind.size and not (
        limits.min <= int(symbols.min()) + plan.center
        and int(symbols.max()) + plan.center <= limits.max
    ):
        raise ModelInvalid(f'coded values do not fit their type {kind.dtype}')
    # Sums that wrap around are right: the true ones fit.
    values = symbols.astype(kind.dtype, order='C').reshape(kind.shape)
    values += np.int64(plan.center).astype(kind.dtype)
    return values


def _floats(symbols: NDArray[np.int16], plan: Plan, kind: Kind, tail: RawBits) -> NDArray:
    values = np.empty(kind.size, kind.dtype)
    for part in _pieces(kind.size):
        wide = symbols[part].astype(np.int64) + plan.center
        raw = tail.take(floats.widths(wide, plan.form, kind.dtype))
        before = values[part.start - 1] if part.start else None
        values[part] = floats.join(wide, raw, plan.form, kind.dtype, before)
    return values.reshape(kind.shape)


def _pieces(size: int) -> Iterator[slice]:
    """Yield parts of an array that keep the memory in use small; a lane begins each."""
    return (slice(first, min(first + rans.PIECE, size)) for first in range(0, size, rans.PIECE))
