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
docs/format.md is enough to read a coded file: here it is followed, number by number.

Nothing of the package has a part in this decoder, which is as slow and as plain as the text.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / 'golden'
TOTAL = 2**14
POWERS = [round(2 ** (31 - i / 16)) for i in range(16)]
MANTISSAS = (
    *('3F800000', '3F8B95C2', '3F9837F0', '3FA5FED7'),
    *('3FB504F3', '3FC5672A', '3FD744FD', '3FEAC0C7'),
)


class Bits:
    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position  # the position is in bits

    def take(self, count: int) -> int:
        value = 0
        for i in range(count):
            byte, bit = divmod(self.position + i, 8)
            value |= (self.data[byte] >> bit & 1) << i
        self.position += count
        return value

    def number(self, order: int) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return 2 ** (zeros + order) + self.take(zeros + order) - 2**order

    def signed(self, order: int) -> int:
        number = self.number(order)
        return -(number + 1) // 2 if number % 2 else number // 2

    def ascending(self, count: int, order: int) -> list[int]:
        values: list[int] = []
        for _ in range(count):
            values.append((values[-1] if values else 0) + self.number(order))
        return values


def read_table(bits: Bits) -> tuple[int, list[int]]:
    """Return the first symbol and the frequencies."""
    below, above = bits.number(3), bits.number(3)
    if below == above == 0:
        return 0, [TOTAL]
    detail, grain, order = bits.take(3) + 1, bits.take(3), bits.take(3)

    def is_knot(symbol: int) -> bool:
        magnitude = abs(symbol)
        return (
            symbol in (-below, above)
            or magnitude % 2 ** max(magnitude.bit_length() - detail, 0) == 0
        )

    knots = [symbol for symbol in range(-below, above + 1) if is_knot(symbol)]
    heights = {knots[0]: 0}
    for a, b in pairwise(knots):
        p, q = heights[a], heights[a] + bits.signed(order) * 2**grain
        for symbol in range(a, b + 1):
            heights[symbol] = p + (q - p) * (symbol - a) // (b - a)
    depths = [max(heights.values()) - heights[s] for s in range(-below, above + 1)]
    weights = [0 if d >= 320 else POWERS[d % 16] >> d // 16 for d in depths]
    least = 5 * sum(weights) // 2**16 + 1
    weights = [max(weight, least) if weight else 0 for weight in weights]
    ends = [sum(weights[: i + 1]) * TOTAL // sum(weights) for i in range(len(weights))]
    return -below, [end - start for start, end in zip([0, *ends], ends, strict=False)]


def planes_of(shape: list[int]) -> tuple[int, list[list[int]]] | None:
    """Return how many planes stand side by side, and the flat indices of each plane's values."""
    if len(shape) != 4:
        return None
    out, channels, rows, columns = shape
    size = rows * columns
    if size > 1:
        planes = [[i * size + k for i in range(out * channels)] for k in range(size)]
    else:
        planes = [list(range(o * channels, (o + 1) * channels)) for o in range(out)]
    return (columns, planes) if 2 <= len(planes) <= 4096 and len(planes[0]) >= 64 else None


class Array:
    """What the description says of one array, and its symbols once they are decoded."""

    def __init__(self, bits: Bits, kind: str, shape: list[int]) -> None:
        self.kind, self.shape, self.count = kind, shape, 1
        for side in shape:
            self.count *= side
        self.form = bits.take(2) if kind == 'float32' else 0
        self.constant, self.center = bits.take(1), bits.signed(0)
        self.planes = None if kind.startswith('float') else planes_of(shape)
        self.symbols = [0] * self.count
        if self.constant:
            return
        self.contexts = bool(self.planes and bits.take(1))
        tables = 1
        if self.contexts:
            self.n, m = bits.take(2), bits.take(3)
            self.signs = bits.ascending(max(self.n - 1, 0), 1)
            self.prior = bits.number(4)
            self.magnitudes = bits.ascending(m, 4)
            tables = (self.n + 1) * (m + 1)
        self.tables = [read_table(bits) for _ in range(tables)]

    def runs(self) -> Iterator[list[tuple[int, int, bool]]]:
        """Yield each run: of each value its index, its table and whether it is negated."""
        if not self.contexts:
            yield [(i, 0, False) for i in range(self.count)]
            return
        assert self.planes is not None
        columns, planes = self.planes
        for p, plane in enumerate(planes):
            yield [self.context(p, columns, planes, i) for i in range(len(plane))]

    def context(
        self, p: int, columns: int, planes: list[list[int]], i: int
    ) -> tuple[int, int, bool]:
        g = self.symbols[planes[p - 1][i]] if p % columns else 0
        g += self.symbols[planes[p - columns][i]] if p >= columns else 0
        sign = 1 + sum(t < abs(g) for t in self.signs) if self.n and g else 0
        c = self.prior + 16 * sum(abs(self.symbols[plane[i]]) for plane in planes[:p])
        magnitude = sum(c >= t * (p + 1) for t in self.magnitudes)
        return planes[p][i], sign * (len(self.magnitudes) + 1) + magnitude, bool(self.n) and g < 0

    def values(self, bits: Bits) -> bytes:
        symbols = [symbol + self.center for symbol in self.symbols]
        if not self.kind.startswith('float'):
            return struct.pack(f'<{self.count}{"b" if self.kind == "int8" else "B"}', *symbols)
        if self.kind == 'float16':
            numbers = [(s % 2) << 15 | (s // 2) << 10 | bits.take(10) for s in symbols]
            return struct.pack(f'<{self.count}H', *numbers)
        return FORMS[self.form](symbols, bits)


def split(symbols: list[int], bits: Bits) -> bytes:
    numbers = [(s % 2) << 31 | (s // 2) << 23 | bits.take(23) for s in symbols]
    return struct.pack(f'<{len(symbols)}I', *numbers)


def steps(symbols: list[int], bits: Bits) -> bytes:
    mantissas = [struct.unpack('>f', bytes.fromhex(text))[0] for text in MANTISSAS]
    return struct.pack(f'<{len(symbols)}f', *(mantissas[k % 8] * 2.0 ** (k // 8) for k in symbols))


def ascending(symbols: list[int], bits: Bits) -> bytes:
    total, numbers = 0, []
    for size in symbols:
        total += 2 ** (size - 1) + bits.take(size - 1) if size else 0
        numbers.append(total ^ (0x80000000 if total >= 2**31 else 0xFFFFFFFF))
    return struct.pack(f'<{len(symbols)}I', *numbers)


FORMS: list[Callable[[list[int], Bits], bytes]] = [split, steps, ascending]


def decode_symbols(arrays: list[Array], data: bytes) -> int:
    """Fill the arrays; return the bytes read."""
    coded = [array for array in arrays if not array.constant]
    count, lanes = sum(array.count for array in coded), 1
    while 10_240 * lanes < count:
        lanes *= 2
    states = list(struct.unpack_from(f'<{lanes}I', data))
    position = 4 * lanes
    for array in coded:
        for run in array.runs():
            for i, (index, table, negated) in enumerate(run):
                x, (symbol, frequencies) = states[i % lanes], array.tables[table]
                u, start = x % TOTAL, 0
                for f in frequencies:
                    if u < start + f:
                        break
                    start, symbol = start + f, symbol + 1
                x = f * (x // TOTAL) + u - start
                if x < 2**16:
                    x = 2**16 * x + struct.unpack_from('<H', data, position)[0]
                    position += 2
                states[i % lanes] = x
                array.symbols[index] = -symbol if negated else symbol
    assert states == [2**16] * lanes
    return position


def read(data: bytes) -> tuple[bytes, bytes]:
    """Return the identity in the header and the one of what was decoded."""
    _, _, _, meta_stored, meta_length, tensors, identity = struct.unpack_from('<8sHHIIQ32s', data)
    meta = zlib.decompress(data[60 : 60 + meta_stored])
    section = data[60 + meta_stored :][:tensors]
    wanted = json.loads(meta)['tensors']
    assert section[: len(wanted)] == b'\1' * len(wanted)
    bits, arrays = Bits(section[len(wanted) :]), []
    for _, kind, shape, *scale in wanted:
        if scale:
            entries = {'tensor': 1, 'channel': shape[0]}.get(scale[0], scale[0])
            arrays.append(Array(bits, 'float32', [entries]))
        arrays.append(Array(bits, kind, shape))
    rest = bits.data[-(-bits.position // 8) :]
    raw = Bits(rest, 8 * decode_symbols(arrays, rest))
    plain = b''.join(array.values(raw) for array in arrays)
    assert -(-raw.position // 8) == len(rest)
    return identity, hashlib.sha256(struct.pack('<I', meta_length) + meta + plain).digest()


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('good-coded*.sqz')), ids=lambda p: p.stem)
def test_the_specification_reads_the_golden_files(path: Path) -> None:
    claimed, found = read(path.read_bytes())
    assert claimed == found
