# Copyright 2026 the sqz_perception authors
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
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from sqz_perception.errors import ModelError  # noqa: E402
from sqz_perception.model import file  # noqa: E402
from tiny import tiny_model  # noqa: E402


def reseal(body: bytes) -> bytes:
    return body[:-4] + struct.pack('<I', zlib.crc32(body[:-4]))


def patched(data: bytes, offset: int, new: bytes) -> bytes:
    return reseal(data[:offset] + new + data[offset + len(new) :])


def good() -> None:
    for dtype in (np.float32, np.float16, np.int8):
        model = tiny_model(dtype=dtype)
        path = HERE / f'good-{np.dtype(dtype).name}.sqz'
        file.write(model, path)
        tensors = {
            name: [str(tensor.values.dtype), float(np.float64(tensor.dense()).sum())]
            for name, tensor in model.tensors.items()
        }
        facts = {'identity': file.identity(model), 'tensors': tensors}
        path.with_suffix('.json').write_text(json.dumps(facts, indent=1) + '\n')


def bad() -> None:
    data = file.encode(tiny_model(dtype=np.int8))
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


if __name__ == '__main__':
    good()
    bad()
