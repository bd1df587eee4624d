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
Write the golden files: ``python test/golden/make_golden.py`` in the repository's root.

Run it only for a new format version: files that exist already must go on decoding as they do.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from coded import coded_model, later_release  # noqa: E402
from forged import reseal, with_section  # noqa: E402
from sqz_perception.errors import ModelError  # noqa: E402
from sqz_perception.model import codec, delta, file  # noqa: E402
from sqz_perception.model.bits import BitWriter  # noqa: E402
from sqz_perception.model.network import Model, SelfTest  # noqa: E402
from sqz_perception.model.tables import Table  # noqa: E402
from tiny import tiny_model  # noqa: E402


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    return reseal(data[:offset] + new + data[offset + len(new) :])


def good() -> None:
    for dtype in (np.float32, np.float16, np.int8):
        write_good(np.dtype(dtype).name, tiny_model(dtype=dtype), plain=True)
    write_good('coded', coded_model())
    write_good('codebook-and-ranges', coded_model(), plain=True)
    answers = SelfTest((7,), ((1, 0),), ((2.5, -1.0),), ((2.25, -1.25),))
    write_good('self-test', replace(coded_model(), self_test=answers))
    write_good('coded-two-lanes', coded_model(channels=150, zeros=0.97))
    for dtype in (np.float32, np.float16):
        write_good(f'coded-{np.dtype(dtype).name}', tiny_model(dtype=dtype))


def write_good(name: str, model: Model, *, plain: bool = False) -> None:
    path = HERE / f'good-{name}.sqz'
    file.write(model, path, plain=plain)
    tensors = {
        name: [str(tensor.values.dtype), float(np.float64(tensor.dense()).sum())]
        for name, tensor in model.tensors.items()
    }
    facts = {'identity': file.identity(model), 'tensors': tensors}
    path.with_suffix('.json').write_text(json.dumps(facts, indent=1) + '\n')


def good_delta() -> None:
    old, new = coded_model(), later_release(coded_model())
    (HERE / 'good-delta.sqd').write_bytes(delta.encode(old, new))
    facts = {'base': 'good-coded.sqz', 'identity': file.identity(new)}
    (HERE / 'good-delta.json').write_text(json.dumps(facts, indent=1) + '\n')


def bad() -> None:
    data = file.encode(tiny_model(dtype=np.int8), plain=True)
    meta_stored = struct.unpack_from('<I', data, 12)[0]
    tensors = file.HEADER.size + meta_stored
    cases = {
        'empty': b'',
        'not-sqz': b'PK\x03\x04' + data[4:],
        'text-mode': data.replace(b'\r\n', b'\n', 1),
        'truncated': data[:-100],
        'tail': data + b'\0',
        'one-bit': data[:200] + bytes([data[200] ^ 16]) + data[201:],
        'newer-version': patched(data, 8, b'\x02\x00'),
        'reserved-flag': patched(data, 10, b'\x01\x00'),
        'meta-length-lies': patched(data, 16, struct.pack('<I', 100)),
        'meta-bomb': patched(data, 16, struct.pack('<I', 2**31)),
        'meta-not-zlib': patched(data, file.HEADER.size, b'\0\0\0\0'),
        'wrong-identity': patched(data, 28, b'\0' * 32),
        'unknown-coding': patched(data, tensors, b'\x07'),
        'tensor-length-lies': patched(data, tensors + 1, b'\xff\xff\xff\xff'),
        'equal-labels': with_equal_labels(data),
        **bad_coded(),
    }
    for name, content in cases.items():
        path = HERE / f'bad-{name}.sqz'
        path.write_bytes(content)
        try:
            file.decode(content)
        except ModelError as error:
            path.with_suffix('.txt').write_text(f'{type(error).__name__}: {error}\n')
        else:
            raise SystemExit(f'{path} decodes')


def bad_coded() -> dict[str, bytes]:
    model = coded_model()
    data = file.encode(model)
    start = file.HEADER.size + struct.unpack_from('<I', data, 12)[0]
    section = data[start:-4]
    first = len(model.tensors)  # byte of the description, behind the records
    states = first + description_bytes(model)
    cases = {
        'unknown-coding': b'\x02' + section[1:],
        'no-records': section[:1],
        'cut-description': section[: states - 9],
        'cut-words': section[: states + 100],
        'cut-raw-bits': section[:-1],
        'tail': section + b'\0',
        'state-too-low': section[: states + 2] + b'\0\0' + section[states + 4 :],
        'word-flipped': section[: states + 100]
        + bytes([section[states + 100] ^ 1])
        + section[states + 101 :],
        'raw-bit-flipped': section[:-2] + bytes([section[-2] ^ 1]) + section[-1:],
        'table-too-wide': section[:first] + table(Table(1024, 0, rises=(0,))),
        'table-too-coarse': section[:first] + table(Table(1, 0, grain=5, rises=(0,))),
        'endless-number': section[:first] + b'\0' * 20,
    }
    return {
        **{f'coded-{name}': with_section(data, new) for name, new in cases.items()},
        'coded-bomb': bomb(data),
    }


def description_bytes(model: Model) -> int:
    writer = BitWriter()
    for tensor in model.tensors.values():
        for array in file.parts_of(tensor):
            kind = codec.Kind(array.dtype, array.shape)
            codec._write_plan(writer, codec._plan(array, kind)[0], kind)
    return len(writer.bytes())


def table(lie: Table) -> bytes:
    """Return a description that begins with a constant step and a table that lies."""
    writer = BitWriter()
    writer.bits(1, 2)  # steps
    writer.bits(1, 1)  # constant
    writer.signed(-40)
    writer.bits(0, 1)  # not constant
    writer.signed(0)
    lie.write(writer)
    return writer.bytes() + b'\0' * 20


def bomb(data: bytes) -> bytes:
    """Return a file whose metadata claims a quarter of a billion weights, all coded as one."""
    document = document_of(data)
    document['tensors'][0][2] = [2**14, 2**14, 1, 1]
    return with_document(data, document, b'\x01' * len(document['tensors']) + b'\xff' * 20)


def with_equal_labels(data: bytes) -> bytes:
    document = document_of(data)
    document['labels'][3] = document['labels'][1]
    return with_document(data, document, data[file.HEADER.size + stored_bytes(data) : -4])


def stored_bytes(data: bytes) -> int:
    return file.HEADER.unpack_from(data)[3]


def document_of(data: bytes) -> dict[str, Any]:
    stored = data[file.HEADER.size : file.HEADER.size + stored_bytes(data)]
    return json.loads(zlib.decompress(stored))


def with_document(data: bytes, document: dict[str, Any], section: bytes) -> bytes:
    """Return the file with other metadata and another tensor section."""
    fields = list(file.HEADER.unpack_from(data))
    meta = json.dumps(document, sort_keys=True, separators=(',', ':')).encode()
    stored = zlib.compress(meta, 9)
    fields[3:6] = [len(stored), len(meta), len(section)]
    return reseal(file.HEADER.pack(*fields) + stored + section + b'\0\0\0\0')


if __name__ == '__main__':
    good()
    good_delta()
    bad()
