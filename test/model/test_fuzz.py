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
"""Damaged files by the thousand: each ends in a named error or in the model that was written."""

from __future__ import annotations

import random
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from coded import coded_model
from forged import reseal
from sqz_perception.errors import ModelError
from sqz_perception.model import codec, file, framing
from sqz_perception.model.codec import Kind
from sqz_perception.model.network import Model
from tiny import tiny_model

pytestmark = pytest.mark.slow

FILES = 60_000
STREAMS = 60_000  # no identity proves a bare stream, so every branch behind it is reached
MEMORY = 192 * 2**20  # bytes more than the process has when it begins
MODELS = [
    *(tiny_model(), coded_model(2, 10), coded_model(3, 12, 0.8)),
    *(coded_model(), coded_model(1, 150, 0.97)),
]
OFTEN = (12, 12, 12, 1, 1)  # large ones take longer


def mutated(data: bytes, first: int, last: int, rng: random.Random) -> bytes:
    """Return ``data`` with something changed between two of its bytes."""
    changed = bytearray(data)
    position = rng.randrange(first, last)
    length = rng.choice((1, 1, 1, 2, 4, 16))
    how = rng.randrange(5)
    if how == 0:
        changed[position] ^= 1 << rng.randrange(8)
    elif how == 1:
        changed[position : position + length] = rng.randbytes(length)
    elif how == 2:
        del changed[position : position + length]
    elif how == 3:
        changed[position:position] = rng.randbytes(length)
    else:
        changed[position : position + length] = rng.choice((b'\0', b'\xff')) * length
    return bytes(changed)


def resealed(data: bytes) -> bytes:
    """Return a file with the lengths and the checksum that ``data`` ought to have."""
    fields = list(file.HEADER.unpack_from(data))
    fields[5] = len(data) - file.HEADER.size - fields[3] - framing.CHECKSUM.size
    return reseal(file.HEADER.pack(*fields) + data[file.HEADER.size :])


@contextmanager
def little_memory() -> Iterator[None]:
    """Make an allocation that is out of proportion fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm') as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_mutated_files() -> None:
    rng = random.Random(1)
    wholes = [file.encode(model) for model in MODELS]
    identities = [file.identity(model) for model in MODELS]
    ends = Counter[str]()
    with little_memory():
        for _ in range(FILES):
            (which,) = rng.choices(range(len(MODELS)), OFTEN)
            whole = wholes[which]
            start = file.HEADER.size + file.HEADER.unpack_from(whole)[3]
            changed = whole
            for _ in range(rng.choice((1, 1, 1, 2, 5))):
                changed = mutated(changed, start, len(changed) - framing.CHECKSUM.size, rng)
            try:
                model = file.decode(resealed(changed))
            except ModelError as error:
                assert '\n' not in str(error)
                ends[f'{type(error).__name__}: {str(error)[:30]}'] += 1
                continue
            assert file.identity(model) == identities[which]
            ends['identical'] += 1
    print(ends)
    assert len(ends) > 10  # many different checks had their turn


def arrays_of(model: Model) -> list[np.ndarray]:
    return [part for tensor in model.tensors.values() for part in file.parts_of(tensor)]


def test_mutated_streams() -> None:
    rng = random.Random(2)
    bases = []
    for model in MODELS:
        arrays = arrays_of(model)
        kinds = [Kind(array.dtype, array.shape) for array in arrays]
        bases.append((codec.encode(arrays), kinds))
    ends = Counter[str]()
    with little_memory():
        for _ in range(STREAMS):
            ((stream, kinds),) = rng.choices(bases, OFTEN)
            last = rng.choice((len(stream), len(stream) // 8, 200))  # mostly the description
            changed = mutated(stream, 0, min(last, len(stream)), rng)
            try:
                found = codec.decode(changed, kinds)
            except ModelError as error:
                ends[f'{type(error).__name__}: {str(error)[:30]}'] += 1
                continue
            assert [(a.dtype, a.shape) for a in found] == [(k.dtype, k.shape) for k in kinds]
            ends['decoded'] += 1
    print(ends)
    assert len(ends) > 10
