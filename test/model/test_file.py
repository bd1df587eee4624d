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
"""The model file: round trips, golden files, and every way in which a file can be bad."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coded import coded_model
from forged import reseal, with_section
from sqz_perception.errors import (
    ModelCorrupt,
    ModelError,
    ModelInvalid,
    ModelNotFound,
    ModelNotSqz,
    ModelTooNew,
    ModelTruncated,
)
from sqz_perception.model import file
from sqz_perception.model.network import Model, SelfTest, Tensor
from tiny import tiny_model

GOLDEN = Path(__file__).parent.parent / 'golden'
DATA = file.encode(tiny_model(dtype=np.int8), plain=True)
CODED = file.encode(coded_model())


def with_metadata(
    meta: bytes, *, claimed: int | None = None, stored: bytes | None = None
) -> bytes:
    """Return the file with other metadata and a header and checksum that fit it."""
    fields = list(file.HEADER.unpack_from(DATA))
    tensors = DATA[file.HEADER.size + fields[3] : -4]
    stored = zlib.compress(meta, 9) if stored is None else stored
    fields[3:5] = [len(stored), len(meta) if claimed is None else claimed]
    return reseal(file.HEADER.pack(*fields) + stored + tensors + b'\0\0\0\0')


def metadata() -> dict:
    fields = file.HEADER.unpack_from(DATA)
    return json.loads(zlib.decompress(DATA[file.HEADER.size : file.HEADER.size + fields[3]]))


def canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(',', ':')).encode()


def same(a: Model, b: Model) -> bool:
    plain = [replace(model, tensors={}) for model in (a, b)]
    return plain[0] == plain[1] and all(
        x.name == y.name
        and x.values.dtype == y.values.dtype
        and np.array_equal(x.values, y.values)
        and same_scale(x.step, y.step)
        and same_scale(x.codebook, y.codebook)
        for x, y in zip(a.tensors.values(), b.tensors.values(), strict=True)
    )


def same_scale(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)


@pytest.mark.parametrize('dtype', [np.float32, np.float16, np.int8])
def test_what_is_written_is_read(dtype: type, tmp_path: Path) -> None:
    model = tiny_model(dtype=dtype)
    size = file.write(model, tmp_path / 'm.sqz')
    assert size == (tmp_path / 'm.sqz').stat().st_size
    assert same(model, file.read(tmp_path / 'm.sqz'))
    assert list(tmp_path.iterdir()) == [tmp_path / 'm.sqz']


def test_encoding_is_deterministic_and_identity_follows_content() -> None:
    assert file.encode(tiny_model()) == file.encode(tiny_model())
    assert file.identity(tiny_model()) == file.identity(file.decode(file.encode(tiny_model())))
    assert file.identity(tiny_model()) != file.identity(tiny_model(release=2))
    assert file.identity(tiny_model()) != file.identity(tiny_model(bias=1e-3))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / 'm.sqz'
    file.write(tiny_model(), path)
    before = path.read_bytes()
    with pytest.raises(ModelInvalid, match='label'):
        file.write(replace(tiny_model(), labels=('one',) * 4 + ('',)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('good-*.sqz')), ids=lambda p: p.stem)
def test_golden_files_decode(path: Path) -> None:
    expected = json.loads(path.with_suffix('.json').read_text())
    model = file.read(path)
    assert file.identity(model) == expected['identity']
    assert {
        name: [str(tensor.values.dtype), float(np.float64(tensor.dense()).sum())]
        for name, tensor in model.tensors.items()
    } == expected['tensors']


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('bad-*.sqz')), ids=lambda p: p.stem)
def test_golden_files_that_must_not_decode(path: Path) -> None:
    kind, message = path.with_suffix('.txt').read_text().strip().split(': ', 1)
    with pytest.raises(ModelError) as caught:
        file.read(path)
    assert type(caught.value).__name__ == kind
    assert message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_there_are_golden_files() -> None:
    assert len(list(GOLDEN.glob('good-*.sqz'))) >= 3
    assert len(list(GOLDEN.glob('bad-*.sqz'))) >= 8


@pytest.mark.parametrize('whole', [DATA, CODED], ids=['plain', 'coded'])
def test_every_flipped_bit_is_noticed(whole: bytes) -> None:
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            with pytest.raises((ModelCorrupt, ModelNotSqz, ModelTooNew, ModelTruncated)):
                file.decode(bytes(damaged))


@pytest.mark.parametrize('whole', [DATA, CODED], ids=['plain', 'coded'])
def test_every_cut_is_noticed(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises((ModelTruncated, ModelNotSqz)):
            file.decode(whole[:length])
    with pytest.raises(ModelTruncated):
        file.decode(whole + b'\0')


@given(st.binary(max_size=200))
def test_noise_is_no_model(noise: bytes) -> None:
    with pytest.raises(ModelError):
        file.decode(noise)


@given(st.data(), st.sampled_from([DATA, CODED]))
def test_a_resealed_change_is_a_named_error(data: st.DataObject, whole: bytes) -> None:
    """Someone who fixes the checksum still can't get past the structure and the identity."""
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(whole) - 5))
        changed[position] = data.draw(st.integers(0, 255))
    try:
        assert same(file.decode(reseal(bytes(changed))), file.decode(whole))
    except ModelError:
        assert bytes(changed) != whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(metadata())), value=json_values)
def test_any_other_metadata_is_a_named_error(key: str, value: object) -> None:
    document = {**metadata(), key: value}
    if document == metadata():
        return
    with pytest.raises(ModelError):
        file.decode(with_metadata(canonical(document)))


@given(st.data())
def test_any_changed_row_is_a_named_error(data: st.DataObject) -> None:
    document = metadata()
    rows = document[data.draw(st.sampled_from(['nodes', 'tensors', 'labels']))]
    rows[data.draw(st.integers(0, len(rows) - 1))] = data.draw(json_values)
    with pytest.raises(ModelError):
        file.decode(with_metadata(canonical(document)))


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        (b'[' * 100_000, 'not JSON'),
        (b'{"a":NaN}', 'not JSON'),
        (b'{"a":1e999}', 'not JSON'),
        (b'{"a": 1}', 'canonical'),
        (b'{"a":1,"a":1}', 'canonical'),
        ('{"a":"é"}'.encode(), 'not JSON'),
        (b'{}', 'exactly the keys'),
        (b'7', 'exactly the keys'),
    ],
)
def test_strange_json(meta: bytes, message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        file.decode(with_metadata(meta))


def test_metadata_may_not_be_a_bomb() -> None:
    bomb = zlib.compress(b'0' * 50_000_000, 9)
    with pytest.raises(ModelInvalid, match='at most'):
        file.decode(with_metadata(b'', stored=bomb, claimed=50_000_000))
    with pytest.raises(ModelInvalid, match='claims to be'):
        file.decode(with_metadata(b'', stored=bomb, claimed=100))


ANSWERED = {'seeds': [1], 'classes': [[0]], 'logits': [[1.0]]}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'release': 0}, 'release is not a whole number'),
        ({'name': 'no spaces'}, 'name of letters'),
        ({'description': 'two\nlines'}, 'printable'),
        ({'input': {**metadata()['input'], 'resize': 3}}, 'smaller than its crop'),
        ({'input': {**metadata()['input'], 'color': 'hsv'}}, 'neither'),
        ({'input': {**metadata()['input'], 'mean': [0.0, 0.0]}}, 'three values'),
        ({'labels': ['one']}, 'not one value for 1 labels'),
        ({'nodes': metadata()['nodes'][:-1]}, 'the last node gives'),
        ({'nodes': []}, 'belongs to no node'),
        ({'nodes': metadata()['nodes'][1:]}, 'which no node before gives'),
        ({'self_test': {'seeds': [1], 'classes': [[0]], 'logits': []}}, 'one answer'),
        ({'self_test': {'seeds': [1], 'classes': [[9]], 'logits': [[1.0]]}}, 'from 0 to 4'),
        ({'self_test': {**ANSWERED, 'int8': [[1.0]]}}, 'exactly the keys'),  # no ranges
        ({'ranges': {'image': 1.0}, 'self_test': ANSWERED}, 'exactly the keys'),
        ({'ranges': {'image': 1.0}, 'self_test': {**ANSWERED, 'int8': []}}, 'one answer'),
        ({'ranges': {'image': 1.0}, 'self_test': {**ANSWERED, 'int8': [[]]}}, 'one answer'),
    ],
)
def test_metadata_that_contradicts_itself(change: dict, message: str) -> None:
    with pytest.raises(ModelInvalid, match=message):
        file.decode(with_identity(with_metadata(canonical({**metadata(), **change}))))


def with_identity(data: bytes) -> bytes:
    """Return ``data`` with the identity of its content, for files made by a lying author."""
    fields = list(file.HEADER.unpack_from(data))
    start = file.HEADER.size + fields[3]
    meta = zlib.decompress(data[file.HEADER.size : start])
    payloads, rest = [], data[start:-4]
    while rest:
        length = 5 + file.LENGTH.unpack_from(rest, 1)[0]
        payloads.append([np.frombuffer(rest[5:length], np.uint8)])
        rest = rest[length:]
    fields[6] = file._digest(meta, payloads)
    return reseal(file.HEADER.pack(*fields) + data[file.HEADER.size :])


def test_sizes_that_lie_are_refused_before_anything_is_allocated() -> None:
    document = metadata()
    document['tensors'][0][2] = [1, 1, 1, 2**28]
    with pytest.raises(ModelInvalid, match='bytes, not'):
        file.decode(with_metadata(canonical(document)))
    document['tensors'][0][2] = [2**20, 2**20, 1, 1]
    with pytest.raises(ModelInvalid, match='impossible shape'):
        file.decode(with_metadata(canonical(document)))


def test_values_that_are_not_finite_are_refused() -> None:
    model = tiny_model(dtype=np.float32)
    model.tensors['conv1.weight'].values[0, 0, 0, 0] = np.inf
    with pytest.raises(ModelInvalid, match='not finite'):
        file.decode(file.encode(model))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r'nothing\.sqz: No such file'):
        file.read(tmp_path / 'nothing.sqz')
    with pytest.raises(ModelNotFound, match='Is a directory'):
        file.read(tmp_path)


def test_self_test_needs_answers_for_known_classes() -> None:
    model = replace(tiny_model(), self_test=SelfTest((1,), ((7,),), ((0.5,),)))
    with pytest.raises(ModelInvalid, match='from 0 to 4'):
        file.encode(model)


def test_coded_and_plain_files_hold_the_same_model() -> None:
    model = coded_model()
    plain = file.encode(model, plain=True)
    assert len(CODED) < 0.6 * len(plain)
    assert same(file.decode(CODED), model)
    assert same(file.decode(plain), model)
    assert CODED[28:60] == plain[28:60] == bytes.fromhex(file.identity(model))
    assert file.encode(file.decode(CODED)) == CODED


def test_what_can_not_be_made_smaller_stays_plain() -> None:
    rng = np.random.default_rng(0)
    model = tiny_model(dtype=np.float32)
    for tensor in model.tensors.values():
        tensor.values[...] = rng.permutation(
            2.0 ** np.linspace(-99, 99, tensor.values.size)
        ).reshape(tensor.values.shape)
    assert file.encode(model) == file.encode(model, plain=True)


def test_a_file_may_mix_coded_and_plain_tensors() -> None:
    """Written here only; a reader must take it."""
    model = coded_model()
    tensors = list(model.tensors.values())
    parts = [file.parts_of(tensor) for tensor in tensors]
    mixed = b''.join(
        file._plain_section([row]) if i % 2 else bytes([file.CODED]) for i, row in enumerate(parts)
    ) + file.codec.encode([part for row in parts[::2] for part in row])
    assert same(file.decode(with_section(CODED, mixed)), model)


def all_zero(out: int) -> Model:
    """Return a model of one tensor of 512 * ``out`` zeros, which cost nothing."""
    model = tiny_model()
    return replace(
        model,
        nodes=(replace(model.nodes[0], stride=1), replace(model.nodes[-1], inputs=('conv1',))),
        tensors={
            'conv1.weight': Tensor(
                'conv1.weight', np.zeros((out, 3, 19, 9), np.int8), np.float32(1)
            ),
            'conv1.bias': Tensor('conv1.bias', np.zeros(out, np.float16)),
        },
        labels=tuple(map(str, range(out))),
    )


def test_a_small_file_holds_no_huge_model() -> None:
    small, large = all_zero(1000), all_zero(20_000)
    data = file.encode(small)
    assert len(data) < 4000
    assert same(file.decode(data), small)
    plain = file.encode(large)  # too many zeros to be coded
    assert len(plain) > 10_000_000
    assert same(file.decode(plain), large)
    section = file._coded_section([file.parts_of(tensor) for tensor in large.tensors.values()])
    tracemalloc.start()
    with pytest.raises(ModelInvalid, match='no model is like that'):
        file.decode(with_section(plain, section))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20  # the labels


def test_codes_beyond_their_codebook_are_refused() -> None:
    model = coded_model()
    model.tensors['conv10.weight'].values[0, 0, 0, 0] = 200
    with pytest.raises(ModelInvalid, match='beyond its 15 entries'):
        file.decode(file.encode(model))
