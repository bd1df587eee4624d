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
Old model + new model -> delta; old model + delta -> new model, bit for bit.

``docs/format.md`` specifies the bytes. An unchanged tensor takes one bit. Of any other tensor, the
steps and the values each take the smallest of three forms: unchanged, differences, or new.
Differences of levels are coded with the old level as context. The metadata holds only the keys
that changed, deflated with the old metadata as dictionary. Both models are named by their
identity, so a delta never applies to another base.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass

from sqz_perception.errors import (
    DeltaBaseMismatch,
    DeltaInvalid,
    ModelCorrupt,
)
from sqz_perception.model import changes, file, framing, metadata
from sqz_perception.model.framing import CHECKSUM, VERSION, sealed
from sqz_perception.model.network import Model, trace

SUFFIX = '.sqd'
MAGIC = b'\x89SQD\r\n\x1a\n'
# magic, version, reserved, metadata stored, metadata inflated, body, identity of base and result
HEADER = struct.Struct('<8sHHIII32s32s')
WINDOW = 2**15  # bytes of the dictionary that deflate can reach
RAW_DEFLATE = -15


@dataclass(frozen=True)
class Header:
    """What a delta says about itself before it is applied."""

    base: str  # identities in hex
    result: str
    meta_stored: int
    meta_length: int


def encode(old: Model, new: Model) -> bytes:
    """Return the delta that turns ``old`` into ``new``. Raises ModelInvalid."""
    base, result = bytes.fromhex(file.identity(old)), bytes.fromhex(file.identity(new))
    old_meta, new_meta = metadata.encode(old), metadata.encode(new)
    meta = _changed_keys(old_meta, new_meta)
    stored = _deflate(meta, old_meta)
    body = changes.encode(old, new)
    sizes = len(stored), len(meta), len(body)
    delta = sealed(HEADER.pack(MAGIC, VERSION, 0, *sizes, base, result) + stored + body)
    apply(old, delta)  # what does not rebuild the model must not be published
    return delta


def read_header(data: bytes) -> Header:
    """Return the header of a delta whose lengths and checksum are right. Raises a ModelError."""
    if not data or data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise DeltaInvalid('not a .sqd model delta')
    stored, length, _, base, result = framing.checked_fields(data, HEADER, 'delta')[3:]
    return Header(base.hex(), result.hex(), stored, length)


def apply(old: Model, data: bytes) -> Model:
    """
    Return the model that the delta ``data`` makes of ``old``.

    Raises DeltaBaseMismatch where the delta is for another base, ModelCorrupt where the result is
    not the announced model, and other ModelErrors for damaged data.
    """
    header = read_header(data)
    if header.base != file.identity(old):
        raise DeltaBaseMismatch(
            f'the delta is for the model {header.base[:12]}, not for {old.name} release '
            f'{old.release} ({file.identity(old)[:12]}); get the whole file'
        )
    old_meta = metadata.encode(old)
    split = HEADER.size + header.meta_stored
    meta = _all_keys(old_meta, _inflate(data[HEADER.size : split], header.meta_length, old_meta))
    info = metadata.decode(meta)
    body = memoryview(data)[split : -CHECKSUM.size]
    model = info.model(changes.decode(old, info.tensors, body, len(data)))
    trace(model)
    if file.identity(model) != header.result:
        raise ModelCorrupt('the delta does not give the model it announces; get the whole file')
    return model


# The metadata.


def _changed_keys(old: bytes, new: bytes) -> bytes:
    """Return the keys of ``new`` that ``old`` lacks or has otherwise; null for one that went."""
    before, after = json.loads(old), json.loads(new)
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    return metadata.canonical_json({**changed, **dict.fromkeys(before.keys() - after.keys())})


def _all_keys(old: bytes, changed: bytes) -> bytes:
    try:
        changes = json.loads(changed.decode('ascii'))
        if not isinstance(changes, dict):
            raise DeltaInvalid('the metadata of the delta is not a JSON object')
        merged = {**json.loads(old), **changes}
        return metadata.canonical_json({k: v for k, v in merged.items() if v is not None})
    except (ValueError, RecursionError) as error:
        raise DeltaInvalid(f'the metadata of the delta is not JSON: {str(error)[:100]}') from error


def _deflate(data: bytes, dictionary: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, RAW_DEFLATE, 9, zdict=dictionary[-WINDOW:])
    return packer.compress(data) + packer.flush()


def _inflate(stored: bytes, length: int, dictionary: bytes) -> bytes:
    if length > file.MAX_META_BYTES:
        raise DeltaInvalid(f'{length:,} bytes of metadata; at most {file.MAX_META_BYTES:,}')
    stream = zlib.decompressobj(RAW_DEFLATE, zdict=dictionary[-WINDOW:])
    try:
        data = stream.decompress(stored, length + 1)
    except zlib.error as error:
        raise DeltaInvalid(f'the metadata of the delta does not inflate: {error}') from error
    if len(data) != length or not stream.eof or stream.unused_data:
        raise DeltaInvalid(f'the metadata of the delta is not the {length:,} bytes it claims')
    return data
