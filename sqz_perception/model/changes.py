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
How the tensors of a new model are coded against those of an old one, for ``delta.py``.

A tensor has one or two parts: its steps or codebook, if any, and its values. Each part is the
same, new, or a difference. Differences of levels are mirrored where the old level is negative and
coded in classes of the old magnitude, each with a table of its own. Steps move on their grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import DeltaInvalid
from sqz_perception.model import codec, file, steps
from sqz_perception.model.bits import BitReader, BitWriter
from sqz_perception.model.codec import Kind
from sqz_perception.model.metadata import TensorInfo
from sqz_perception.model.network import Model, Tensor

SAME, NEW, DIFFERENCE = range(3)  # forms of a part; DIFFERENCE + i has the classes BOUNDS[i]
FORM_BITS = 3
# Where one class of old magnitudes ends and the next begins: a table of frequencies for each.
BOUNDS: tuple[tuple[int, ...], ...] = ((), (1,), (1, 2), (1, 2, 4))
MAX_MOVE = 2**10  # step codes
TABLE_BITS = 120  # of a table of frequencies, roughly

INT16 = np.dtype(np.int16)
Levels = NDArray[np.int16]


def encode(old: Model, new: Model) -> bytes:
    """Return the forms of all tensors of ``new``, then one stream of what is coded."""
    writer = BitWriter()
    arrays: list[NDArray] = []
    for name, tensor in new.tensors.items():
        before = file.parts_of(old.tensors[name]) if name in old.tensors else []
        arrays += _write_tensor(writer, before, file.parts_of(tensor))
    return writer.bytes() + codec.encode(arrays)


def decode(
    old: Model, infos: Sequence[TensorInfo], body: memoryview, delta_bytes: int
) -> dict[str, Tensor]:
    """Return the new model's tensors. Raises a ModelError before it allocates too much."""
    reader = BitReader(body)
    kinds = [file.kinds_of(info) for info in infos]
    forms = [_read_forms(reader, len(row)) for row in kinds]
    bases = [
        _paired(file.parts_of(old.tensors[info.name]) if info.name in old.tensors else [], row)
        for info, row in zip(infos, kinds, strict=True)
    ]
    plan = [
        (info, *part)
        for info, *rows in zip(infos, kinds, forms, bases, strict=True)
        for part in zip(*rows, strict=True)
    ]
    fresh = sum(kind.size * kind.dtype.itemsize for _, kind, form, _ in plan if form == NEW)
    if not file.may_become(fresh, delta_bytes):
        raise DeltaInvalid(f'{delta_bytes:,} bytes of delta claim to hold {fresh:,}')
    coded = [_coded_kinds(info.name, kind, form, base) for info, kind, form, base in plan]
    arrays = iter(codec.decode(body[reader.end() :], [kind for row in coded for kind in row]))
    parts: dict[str, list[NDArray]] = {info.name: [] for info in infos}
    for (info, _, form, base), row in zip(plan, coded, strict=True):
        parts[info.name].append(_part(form, base, [next(arrays) for _ in row]))
    return {info.name: file.tensor_of(info, parts[info.name]) for info in infos}


def _write_tensor(
    writer: BitWriter, old: Sequence[NDArray], new: Sequence[NDArray]
) -> list[NDArray]:
    """Write the forms of a tensor's parts; return the arrays that code them."""
    chosen = [
        min(_options(before, part), key=lambda option: sum(map(_bits, option[1])))
        for before, part in zip(_paired(old, new), new, strict=True)
    ]
    changed = any(form != SAME for form, _ in chosen)
    writer.bits(changed, 1)
    if not changed:
        return []
    for form, _ in chosen:
        writer.bits(form, FORM_BITS)
    return [array for _, arrays in chosen for array in arrays]


def _options(old: NDArray | None, new: NDArray) -> list[tuple[int, list[NDArray]]]:
    """Return the forms that a part can have, each with the arrays that code it."""
    if old is None:
        return [(NEW, [new])]
    if old.tobytes() == new.tobytes():  # 0.0 and -0.0 are equal, but not the same bits
        return [(SAME, [])]
    if new.dtype.kind != 'f':
        differences = [
            (DIFFERENCE + i, _differences(old, new, bounds)) for i, bounds in enumerate(BOUNDS)
        ]
        return [(NEW, [new]), *differences]
    before, after = steps.code_of(old), steps.code_of(new)
    if before is None or after is None or np.abs(after - before).max() >= MAX_MOVE:
        return [(NEW, [new])]
    return [(NEW, [new]), (DIFFERENCE, [(after - before).astype(INT16)])]


def _bits(array: NDArray) -> float:
    """Estimate what an array costs: its order-0 entropy, and a table."""
    if array.dtype.kind == 'f':
        codes = steps.code_of(array)
        if codes is None:
            return 8 * array.nbytes
        array = codes
    _, counts = np.unique(array, return_counts=True)
    return float(-(counts * np.log2(counts / array.size)).sum()) + TABLE_BITS


def _read_forms(reader: BitReader, count: int) -> list[int]:
    changed = reader.bits(1)
    return [reader.bits(FORM_BITS) if changed else SAME for _ in range(count)]


def _coded_kinds(name: str, kind: Kind, form: int, base: NDArray | None) -> list[Kind]:
    """Return what the arrays are that code a part. Raises DeltaInvalid."""
    if form == NEW:
        return [kind]
    if base is None:
        raise DeltaInvalid(f'{name!r} is not in the base, or of another type or shape there')
    if form == SAME:
        return []
    if kind.is_float and form == DIFFERENCE:
        return [Kind(INT16, kind.shape)]
    if kind.is_float or form - DIFFERENCE >= len(BOUNDS):
        raise DeltaInvalid(f'{name!r} has the unknown form {form}')
    classes = _classes(_levels(base), BOUNDS[form - DIFFERENCE])
    return [Kind(INT16, (int(where.sum()),)) for where in classes]


def _part(form: int, base: NDArray | None, arrays: list[NDArray]) -> NDArray:
    if form == NEW:
        return arrays[0]
    assert base is not None  # else _coded_kinds had raised
    if form == SAME:
        return base
    if base.dtype.kind == 'f':
        return _moved_steps(base, arrays[0])
    return _moved_levels(base, arrays, BOUNDS[form - DIFFERENCE])


def _paired(old: Sequence[NDArray], new: Sequence[NDArray | Kind]) -> Sequence[NDArray | None]:
    """Return the old part for each new one, None where it is of another type or shape."""
    if len(old) != len(new):
        return [None] * len(new)
    return [
        before if (before.dtype, before.shape) == (part.dtype, part.shape) else None
        for before, part in zip(old, new, strict=True)
    ]


def _differences(old: NDArray, new: NDArray, bounds: tuple[int, ...]) -> list[NDArray]:
    """Return new - old, mirrored where old is negative, one array for each class of |old|."""
    before = _levels(old)
    mirrored = (_levels(new) - before) * _signs(before)
    return [mirrored[where] for where in _classes(before, bounds)]


def _moved_levels(old: NDArray, arrays: list[NDArray], bounds: tuple[int, ...]) -> NDArray:
    before = _levels(old)
    difference = np.zeros(len(before), np.int32)
    for where, values in zip(_classes(before, bounds), arrays, strict=True):
        difference[where] = values
    moved = before + difference * _signs(before)
    limits = np.iinfo(old.dtype)
    if moved.size and not limits.min <= moved.min() <= moved.max() <= limits.max:
        raise DeltaInvalid('a level of the delta is out of range')
    return moved.astype(old.dtype).reshape(old.shape)


def _moved_steps(old: NDArray, difference: NDArray) -> NDArray[np.float32]:
    codes = steps.code_of(old)
    if codes is None:
        raise DeltaInvalid('the delta moves steps that lie on no grid')
    moved = codes + difference
    if moved.size and not steps.MIN_CODE <= moved.min() <= moved.max() <= steps.MAX_CODE:
        raise DeltaInvalid('a step of the delta is out of range')
    return steps.step_of(moved)


def _levels(values: NDArray) -> Levels:
    return values.reshape(-1).astype(INT16)


def _signs(before: Levels) -> Levels:
    return np.where(before < 0, -1, 1).astype(INT16)


def _classes(before: Levels, bounds: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """Return where the old magnitude is in each class."""
    index = np.searchsorted(bounds, np.abs(before), 'right')
    return [index == i for i in range(len(bounds) + 1)]
