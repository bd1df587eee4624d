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
"""The codec: every array comes back to the bit, and no bytes do harm."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from coded import levels
from sqz_perception.errors import ModelCorrupt, ModelError, ModelInvalid
from sqz_perception.model import codec, contexts, floats, rans, tables
from sqz_perception.model.bits import BitReader, BitWriter, RawBits, pack
from sqz_perception.model.codec import Kind, Plan
from sqz_perception.model.contexts import Contexts
from sqz_perception.model.steps import step_of
from sqz_perception.model.tables import TOTAL, Table


def kinds_of(values: list[NDArray]) -> list[Kind]:
    return [Kind(array.dtype, array.shape) for array in values]


def assert_comes_back(*values: NDArray) -> bytes:
    """Assert that ``values`` come back bit for bit, type and shape too; return their bytes."""
    data = codec.encode(values)
    for before, after in zip(values, codec.decode(data, kinds_of(list(values))), strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert before.tobytes() == after.tobytes()
    return data


def smooth(shape: tuple[int, int, int, int], seed: int = 0) -> NDArray[np.int8]:
    out, channels, kernel, _ = shape
    return levels(np.random.default_rng(seed), out, channels, kernel)


shapes = st.one_of(
    st.tuples(st.integers(0, 300)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from([(64, 2, 3, 3), (3, 64, 1, 1), (8, 8, 1, 2), (70, 1, 5, 1)]),
)


@settings(max_examples=60)
@given(st.data(), st.sampled_from([np.int8, np.uint8]), shapes)
def test_any_integers_come_back(data: st.DataObject, dtype: type, shape: tuple) -> None:
    limits = np.iinfo(dtype)
    low = data.draw(st.integers(limits.min, limits.max))
    high = data.draw(st.integers(low, limits.max))
    assert_comes_back(data.draw(arrays.arrays(dtype, shape, elements=st.integers(low, high))))


@settings(max_examples=30)
@given(arrays.arrays(np.int16, shapes, elements=st.integers(-255, 255)))
def test_differences_come_back(values: NDArray[np.int16]) -> None:
    assert_comes_back(values)


@settings(max_examples=60)
@given(
    st.sampled_from([np.float16, np.float32]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(0, 60)))
    )
)
def test_any_floats_come_back_to_the_bit(values: NDArray) -> None:
    assert_comes_back(values)
    assert_comes_back(np.sort(values))


@settings(max_examples=20)
@given(st.lists(st.sampled_from(['smooth', 'zero', 'steps', 'bias', 'few']), max_size=6))
def test_arrays_of_all_sorts_share_a_stream(sorts: list[str]) -> None:
    rng = np.random.default_rng(len(sorts))
    made = {
        'smooth': smooth((8, 16, 3, 3)),
        'zero': np.zeros((4, 20, 3, 3), np.int8),
        'steps': step_of(rng.integers(-80, -40, 33)),
        'bias': rng.normal(0, 1, 40).astype(np.float32),
        'few': np.array([7], np.uint8),
    }
    assert_comes_back(*(made[sort] for sort in sorts))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 60), st.floats(0, 0.999))
def test_skewed_levels_come_back(seed: int, spread: float, zeros: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.clip(np.rint(rng.laplace(0, spread, (40, 16, 3, 3))), -128, 127)
    values[rng.random(values.shape) < zeros] = 0
    assert_comes_back(values.astype(np.int8))


def test_several_lanes_come_back() -> None:
    rng = np.random.default_rng(0)
    count = 5 * rans.STEPS + 17
    assert rans.lanes_for(count) == 8
    assert_comes_back(rng.binomial(20, 0.3, count).astype(np.uint8), smooth((64, 64, 3, 3)))


@pytest.mark.parametrize(
    ('symbols', 'lanes'),
    [
        (1, 1),
        (rans.STEPS, 1),
        (rans.STEPS + 1, 2),
        (2 * rans.STEPS + 1, 4),
        (10**6, 128),
        (10**12, 2**16),
    ],
)
def test_lanes(symbols: int, lanes: int) -> None:
    assert rans.lanes_for(symbols) == lanes


def test_what_says_nothing_costs_next_to_nothing() -> None:
    assert codec.encode([]) == b''
    assert len(assert_comes_back(np.zeros((512, 64, 3, 3), np.int16))) == 1
    assert len(assert_comes_back(*[np.zeros(1000, np.int8)] * 20)) == 5
    assert len(assert_comes_back(np.full((1000, 512, 1, 1), -128, np.int8))) <= 4
    sparse = np.zeros(100_000, np.int16)
    sparse[500] = -255
    assert len(assert_comes_back(sparse)) < 100


def test_levels_take_less_than_their_entropy() -> None:
    """Smooth filters cost less than any code that looks at one level at a time."""
    values = smooth((64, 64, 3, 3))
    share = np.unique(values, return_counts=True)[1] / values.size
    entropy = -values.size * (share * np.log2(share)).sum() / 8
    size = len(assert_comes_back(values))
    assert size < 0.97 * entropy
    assert codec.costs(values).shape == values.shape
    assert abs(codec.costs(values).sum() / 8 - size) < 0.02 * size
    shuffled = np.random.default_rng(1).permutation(values.reshape(-1)).reshape(values.shape)
    assert len(assert_comes_back(shuffled)) < 1.01 * entropy


@pytest.mark.parametrize('sort', ['zeros', 'flat', 'planes', 'float32', 'float16', 'ascending'])
def test_decoding_takes_a_small_multiple_of_what_it_gives(sort: str) -> None:
    rng = np.random.default_rng(0)
    size = 2**20
    values = {
        'zeros': lambda: np.zeros(2 * size, np.int8),
        'flat': lambda: rng.integers(-9, 9, 2 * size).astype(np.int8),
        'planes': lambda: smooth((512, size // 2048, 1, 2)),  # two planes: the largest contexts
        'float32': lambda: rng.normal(size=size // 2).astype(np.float32),
        'float16': lambda: rng.normal(size=size).astype(np.float16),
        'ascending': lambda: np.sort(rng.normal(size=size // 2).astype(np.float32)),
    }[sort]()
    stream = codec.encode([values])
    tracemalloc.start()
    (decoded,) = codec.decode(stream, [Kind(values.dtype, values.shape)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.tobytes() == values.tobytes()
    assert peak < 5 * values.nbytes + 6 * 2**20


def test_prices_are_those_of_an_array_like_it() -> None:
    values = smooth((32, 32, 3, 3))
    prices = codec.prices(values)
    assert prices.shape == (255,)
    assert prices[127] < 2.5 < prices[127 + 10] < prices[127 + 40]
    share = np.unique(values, return_counts=True)[1] / values.size
    entropy = -(share * np.log2(share)).sum()
    assert entropy <= prices[values.astype(int) + 127].mean() < 1.01 * entropy


def test_values_too_far_apart_are_refused() -> None:
    with pytest.raises(ModelInvalid, match='more than 1023 from'):
        codec.encode([np.array([0, 0, 1024], np.int16)])
    assert_comes_back(np.array([0, 0, 1023], np.int16))


SMALL: list[NDArray] = [
    np.repeat(smooth((8, 8, 1, 1)), 8, axis=3) + (np.arange(512) % 7 == 0).reshape(8, 8, 1, 8),
    step_of(np.array([-40, -42, -41, -40])),
    np.float32([0.1, 3, -2]),
]
STREAM = codec.encode(SMALL)


def decode_small(data: bytes) -> bool:
    """Return whether ``data`` decodes to SMALL."""
    found = codec.decode(data, kinds_of(SMALL))
    return all(a.tobytes() == b.tobytes() for a, b in zip(found, SMALL, strict=True))


def test_the_small_stream_has_contexts() -> None:
    assert codec._read_plan(BitReader(memoryview(STREAM)), kinds_of(SMALL)[0]).how is not None


def test_every_cut_and_every_tail_is_noticed() -> None:
    for length in range(len(STREAM)):
        with pytest.raises(ModelError):
            codec.decode(STREAM[:length], kinds_of(SMALL))
    for tail in (b'\0', b'\xff', b'\0\0', b'\0' * 100):
        with pytest.raises(ModelError):
            codec.decode(STREAM + tail, kinds_of(SMALL))


def test_every_flipped_bit_gives_a_named_error_or_other_values() -> None:
    """Raw bits have nothing that could prove them; the file's identity does that."""
    errors = harmless = 0
    for position in range(8 * len(STREAM)):
        damaged = bytearray(STREAM)
        damaged[position // 8] ^= 1 << position % 8
        try:
            harmless += decode_small(bytes(damaged))  # such as a threshold that parts nothing
        except ModelError:
            errors += 1
    assert errors > 7 * len(STREAM)
    assert harmless < 0.01 * 8 * len(STREAM)


@given(st.binary(max_size=300))
def test_noise_does_no_harm(noise: bytes) -> None:
    try:
        values = codec.decode(noise, kinds_of(SMALL))
    except ModelError:
        return
    assert [(array.dtype, array.shape) for array in values] == [
        (array.dtype, array.shape) for array in SMALL
    ]


def stream_of(plan: Plan, kind: Kind, rest: bytes = b'') -> bytes:
    """Return a stream with this description, as a liar would write it."""
    writer = BitWriter()
    codec._write_plan(writer, plan, kind)
    return writer.bytes() + rest


START = rans.START.to_bytes(4, 'little')
BYTES, CUBE = Kind(np.dtype(np.int8), (9,)), Kind(np.dtype(np.int8), (8, 8, 3, 3))
FLOATS = Kind(np.dtype(np.float32), (9,))
FLAT = Table(1, 1, rises=(0, 0))


@pytest.mark.parametrize(
    ('plan', 'kind', 'rest', 'message'),
    [
        (Plan(0, 128), BYTES, b'', 'do not fit their type int8'),
        (Plan(0, 2**17), BYTES, b'', 'lie around'),
        (Plan(0, 0, (Table(2000, 1, rises=(0,)),)), BYTES, START, 'at most 1023'),
        (Plan(0, 0, (Table(1, 1, grain=5, rises=(0, 0)),)), BYTES, START, 'the grain 5'),
        (Plan(0, 0, (FLAT,)), BYTES, START[:3], 'before the states'),
        (Plan(0, 0, (FLAT,)), BYTES, b'\xff\xff\0\0', 'begins below its range'),
        (Plan(0, 0, (FLAT,)), BYTES, START, 'words of the coded tensors end too early'),
        (Plan(0, 0, (FLAT,)), BYTES, b'\xff' * 90, 'do not end as they must'),
        (Plan(0, 0), BYTES, b'\0', '1 bytes follow'),
        (Plan(3, 0), FLOATS, b'', 'unknown form 3'),
        (Plan(floats.SPLIT, -1), FLOATS, b'\0' * 26, 'exponent is out of range'),
        (Plan(floats.SPLIT, 512), FLOATS, b'\0' * 26, 'exponent is out of range'),
        (Plan(floats.SPLIT, 4), FLOATS, b'\0' * 25, 'raw bits of the coded tensors end too early'),
        (Plan(floats.SPLIT, 4), FLOATS, b'\0' * 25 + b'\x80', 'bits after the coded tensors'),
        (Plan(floats.SPLIT, 4), FLOATS, b'\0' * 27, '1 bytes follow'),
        (Plan(floats.STEPS, 1024), FLOATS, b'', 'step is out of range'),
        (Plan(floats.STEPS, -1009), FLOATS, b'', 'step is out of range'),
        (Plan(floats.ASCENDING, 33), FLOATS, b'\0' * 36, 'impossible number of bits'),
        (Plan(floats.ASCENDING, -1), FLOATS, b'', 'impossible number of bits'),
        (Plan(floats.ASCENDING, 32), FLOATS, b'\0' * 35, 'rise beyond the largest'),
        (Plan(0, 0, (FLAT,) * 2, Contexts(None, 2**16, (1,))), CUBE, START, 'threshold of 65536'),
    ],
)
def test_descriptions_that_lie(plan: Plan, kind: Kind, rest: bytes, message: str) -> None:
    with pytest.raises((ModelInvalid, ModelCorrupt), match=message):
        codec.decode(stream_of(plan, kind, rest), [kind])


def test_bits_that_fill_up_must_be_zero() -> None:
    data = stream_of(Plan(0, 0), BYTES)
    with pytest.raises(ModelInvalid, match='not zero'):
        codec.decode(bytes([data[0] | 0x80]), [BYTES])


@given(
    st.integers(0, 1023),
    st.integers(0, 1023),
    st.integers(1, tables.MAX_DETAIL),
    st.integers(0, tables.MAX_GRAIN),
    st.randoms(use_true_random=False),
)
def test_no_table_can_fail_to_sum(below: int, above: int, detail: int, grain: int, rng) -> None:
    """Whatever the file says, the sum is right; only symbols far below the others are left out."""
    if below + above == 0:
        return
    count = len(tables.knots(below, above, detail)) - 1
    reach = rng.choice([0, 1, 10, 1000, 2**30])
    rises = tuple(rng.randint(-reach, reach) for _ in range(count))
    found = Table(below, above, detail, grain, 0, rises).frequencies()
    assert len(found) == below + above + 1
    assert found.min() >= (1 if reach == 0 else 0)
    assert found.sum() == TOTAL


def test_a_table_is_what_the_specification_says() -> None:
    """Pinned, so that a change of the arithmetic can't go unnoticed."""
    assert tables.knots(9, 20, 2).tolist() == [
        *(-9, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16, 20)
    ]
    assert Table(0, 3, 1, 4, 0, (-1, -1, -2)).frequencies().tolist() == [9039, 4520, 2260, 565]
    sloped = Table(1, 5, 1, 0, 0, (40, -16, -8, -17, -3)).frequencies().tolist()
    assert sloped == [1119, 6331, 3166, 2239, 1515, 1072, 942]
    steep = Table(0, 40, 1, 4, 0, (-1, -2, -8, -11, -2, -3, -4)).frequencies().tolist()
    assert steep == [10028, 5015, 1254, 78, 5, 1, 1, 2] + [0] * 33


@given(st.lists(st.tuples(st.integers(0, 2**24), st.integers(0, 7))))
def test_numbers_of_any_size(numbers: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for value, order in numbers:
        writer.number(value, order)
        writer.signed(-value, order)
    reader = BitReader(memoryview(writer.bytes()))
    for value, order in numbers:
        assert reader.number(order) == value
        assert reader.signed(order) == -value
    assert reader.end() == len(writer.bytes())


@given(
    st.lists(st.integers(0, 32).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))))
)
def test_raw_bits_come_back(fields: list[tuple[int, int]]) -> None:
    values, widths = np.array(fields, np.int64).reshape(-1, 2).T
    data = memoryview(pack(values, widths))
    assert len(data) == -(-int(widths.sum()) // 8)
    raw, half = RawBits(data), len(values) // 2
    assert np.array_equal(raw.take(widths[:half]), values[:half])
    assert np.array_equal(raw.take(widths[half:]), values[half:])
    raw.end()


def test_a_number_without_end_is_refused() -> None:
    for data in (b'', b'\0' * 3, b'\0' * 40, b'\0\0\0\x10'):
        with pytest.raises(ModelInvalid):
            BitReader(memoryview(data)).number(0)


def test_contexts_look_back_only() -> None:
    """A plane that is not decoded yet has no say in its own context."""
    kind = Kind(np.dtype(np.int8), (8, 8, 3, 3))
    grid = contexts.grid_of(kind.shape)
    assert grid is not None
    planes = grid.planes(smooth((8, 8, 3, 3)).astype(np.int64))
    how = Contexts((2,), 30, (20, 40))
    seen = contexts.Neighbours(grid, planes)
    hidden = contexts.Neighbours(grid, np.array(planes))
    for index in range(grid.count):
        hidden._planes[index:] = 77
        for a, b in zip(seen.contexts(index, how), hidden.contexts(index, how), strict=True):
            assert np.array_equal(a, b)
        assert seen.contexts(index, how)[0].max() < how.count
        hidden._planes[index:] = planes[index:]
        seen = contexts.Neighbours(grid, planes)
        hidden = contexts.Neighbours(grid, np.array(planes))
        for past in range(index + 1):
            seen.magnitude(past, 0), hidden.magnitude(past, 0)


@pytest.mark.parametrize(
    'shape', [(8,), (8, 8, 1, 1), (1, 100, 1, 1), (5000, 64, 1, 1), (7, 9, 3, 3), (2, 9, 70, 70)]
)
def test_tensors_without_planes(shape: tuple[int, ...]) -> None:
    assert contexts.grid_of(shape) is None


def test_small_streams_need_little_memory() -> None:
    kind = Kind(np.dtype(np.int8), (2**20,))
    data = codec.encode([np.zeros(2**20, np.int8)])
    tracemalloc.start()
    codec.decode(data, [kind])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * 2**20
