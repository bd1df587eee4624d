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
"""Old model + delta is the new model bit for bit; anything else ends in a named error."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coded import coded_model, later_release
from sqz_perception.errors import (
    DeltaBaseMismatch,
    DeltaInvalid,
    ModelCorrupt,
    ModelError,
    ModelTooNew,
    ModelTruncated,
)
from sqz_perception.model import delta, file, framing
from sqz_perception.model.network import Model
from sqz_perception.model.steps import code_of, step_of
from sqz_perception.resources import default_model
from tiny import tiny_model

GOLDEN = Path(__file__).parents[1] / 'golden'
OLD = coded_model()
NEW = later_release(OLD)
DELTA = delta.encode(OLD, NEW)
EMPTY = 110  # bytes: header, checksum, a bit for each tensor and an empty JSON object


def resealed(data: bytes) -> bytes:
    """Return a delta with the body's length and the checksum that ``data`` ought to have."""
    fields = list(delta.HEADER.unpack_from(data))
    fields[5] = len(data) - delta.HEADER.size - fields[3] - framing.CHECKSUM.size
    body = delta.HEADER.pack(*fields) + data[delta.HEADER.size : -framing.CHECKSUM.size]
    return framing.sealed(body)


def patched(offset: int, new: bytes) -> bytes:
    return resealed(DELTA[:offset] + new + DELTA[offset + len(new) :])


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (OLD, NEW),
        (NEW, OLD),
        (OLD, tiny_model()),
        (tiny_model(), tiny_model(bias=1e-3)),
        (tiny_model(), tiny_model(labels=('cat', 'dog', 'rat'))),
        (tiny_model(dtype=np.int8), tiny_model()),
        (OLD, replace(OLD, ranges={})),
    ],
)
def test_the_new_model_is_rebuilt_bit_for_bit(old: Model, new: Model) -> None:
    rebuilt = delta.apply(old, delta.encode(old, new))
    assert file.identity(rebuilt) == file.identity(new)
    assert file.encode(rebuilt) == file.encode(new)


@st.composite
def changes(draw: st.DrawFn) -> Model:
    """Return OLD with levels and steps moved by drawn amounts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share, size = draw(st.sampled_from([0.0, 0.001, 0.1, 1.0])), draw(st.integers(1, 254))
    moved = draw(st.sets(st.sampled_from(sorted(OLD.tensors))))
    tensors = dict(OLD.tensors)
    for name in moved:
        tensor = tensors[name]
        if tensor.values.dtype == np.int8:
            drift = rng.integers(-size, size + 1, tensor.values.shape)
            drift = drift * (rng.random(drift.shape) < share)
            values = np.clip(tensor.values + drift, -128, 127).astype(np.int8)
            tensor = replace(tensor, values=values)
        if tensor.step is not None and (codes := code_of(tensor.step)) is not None:
            turn = rng.integers(-2, 3, codes.shape)
            tensor = replace(tensor, step=step_of(codes + turn))
        tensors[name] = tensor
    return replace(OLD, tensors=tensors, release=draw(st.integers(1, 9)))


@settings(max_examples=30)
@given(changes())
def test_any_drift_is_rebuilt(new: Model) -> None:
    assert file.identity(delta.apply(OLD, delta.encode(OLD, new))) == file.identity(new)


def test_what_did_not_change_costs_a_bit() -> None:
    assert len(delta.encode(OLD, OLD)) < EMPTY
    assert len(delta.encode(OLD, replace(OLD, release=9))) < EMPTY + 8


def test_the_shipped_model_takes_small_changes_in_few_bytes() -> None:
    """1 % of 470,000 levels moved by one: less than a twentieth of the file."""
    old = file.read(default_model())
    rng = np.random.default_rng(0)
    tensors = {}
    for name, tensor in old.tensors.items():
        drift = rng.choice((-1, 1), tensor.values.shape) * (rng.random(tensor.values.shape) < 0.01)
        values = np.clip(tensor.values + drift, -64, 64).astype(np.int8)
        tensors[name] = replace(tensor, values=values)
    new = replace(old, tensors=tensors, release=old.release + 1)
    data = delta.encode(old, new)
    assert len(data) < len(file.encode(new)) / 20
    assert file.identity(delta.apply(old, data)) == file.identity(new)


def test_golden_delta() -> None:
    facts = json.loads((GOLDEN / 'good-delta.json').read_text())
    base = file.read(GOLDEN / facts['base'])
    data = (GOLDEN / 'good-delta.sqd').read_bytes()
    assert file.identity(delta.apply(base, data)) == facts['identity']
    header = delta.read_header(data)
    assert (header.base, header.result) == (file.identity(base), facts['identity'])


def test_another_base_is_refused_by_name() -> None:
    with pytest.raises(DeltaBaseMismatch, match='get the whole file'):
        delta.apply(NEW, DELTA)


@pytest.mark.parametrize(
    ('data', 'error'),
    [
        (b'', DeltaInvalid),
        (file.encode(OLD), DeltaInvalid),
        (DELTA[:50], ModelTruncated),
        (DELTA[:-1], ModelTruncated),
        (DELTA + b'\0', ModelTruncated),
        (DELTA[:200] + bytes([DELTA[200] ^ 1]) + DELTA[201:], ModelCorrupt),
        (patched(8, b'\x02'), ModelTooNew),
        (patched(10, b'\x01'), ModelTooNew),
        (patched(56, bytes(32)), ModelCorrupt),
        (patched(16, struct.pack('<I', 2**31)), DeltaInvalid),
        (patched(16, struct.pack('<I', 7)), DeltaInvalid),
        (patched(delta.HEADER.size, b'\xff\xff'), DeltaInvalid),
    ],
)
def test_damage_has_a_name(data: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error) as caught:
        delta.apply(OLD, data)
    assert '\n' not in str(caught.value)


def test_a_small_delta_can_not_claim_a_huge_tensor() -> None:
    fields = list(delta.HEADER.unpack_from(DELTA))
    table = [['conv1.weight', 'int8', [2**14, 2**14, 1, 1], 'tensor']]
    meta = json.dumps({'tensors': table}, separators=(',', ':')).encode()
    stored = zlib.compress(meta, 9)[2:-4]
    body = b'\x13' + b'\xff' * 40  # changed, both parts new
    fields[3:6] = [len(stored), len(meta), len(body)]
    bomb = delta.HEADER.pack(*fields) + stored + body + b'\0\0\0\0'
    with pytest.raises(DeltaInvalid, match='claim to hold'):
        delta.apply(OLD, resealed(bomb))


def mutations(count: int) -> Counter[str]:
    """Apply ``count`` damaged deltas whose checksum is right; return how they ended."""
    rng = random.Random(3)
    ends = Counter[str]()
    for _ in range(count):
        changed = bytearray(DELTA)
        for _ in range(rng.choice((1, 1, 2, 5))):
            changed[rng.randrange(24, len(changed) - 4)] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            first = rng.randrange(delta.HEADER.size, len(changed) - 4)
            del changed[first : first + rng.choice((1, 2, 16))]
        try:
            model = delta.apply(OLD, resealed(bytes(changed)))
        except ModelError as error:
            assert '\n' not in str(error)
            ends[type(error).__name__] += 1
            continue
        assert file.identity(model) == file.identity(NEW)
        ends['identical'] += 1
    return ends


def test_damaged_deltas_end_in_an_error_or_in_the_model() -> None:
    assert len(mutations(60)) > 2


@pytest.mark.slow
def test_many_damaged_deltas() -> None:
    print(mutations(30_000))
