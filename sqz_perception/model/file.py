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
The .sqz model file. ``docs/format.md`` is the specification.

A reader believes nothing it has not checked: the lengths against the file, the checksum against
the bytes, each tensor's size against what is left or against what so small a file may become,
and at the end the identity (a SHA-256 of what was decoded) against the header.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqz_perception import atomic
from sqz_perception.errors import (
    ModelCorrupt,
    ModelError,
    ModelInvalid,
    ModelNotFound,
    ModelNotSqz,
    ModelTooNew,
)
from sqz_perception.model import codec, framing, metadata
from sqz_perception.model.codec import Kind
from sqz_perception.model.framing import VERSION, sealed
from sqz_perception.model.limits import (
    MAX_CODED_BYTES,
    MAX_FILE_BYTES,
    MAX_GROWTH,
    MAX_META_BYTES,
)
from sqz_perception.model.metadata import TensorInfo
from sqz_perception.model.network import Model, Tensor, trace

SUFFIX = '.sqz'
MAGIC = b'\x89SQZ\r\n\x1a\n'  # as PNG's: a text-mode transfer damages it visibly
HEADER = struct.Struct(
    '<8sHHIIQ32s'
)  # magic, version, reserved, meta stored, meta, tensors, identity
LENGTH = struct.Struct('<I')  # of a plain payload
PLAIN, CODED = 0, 1  # a record's first byte


Parts = list[NDArray]  # a tensor's steps or codebook, if it has any, and its values


def read(path: str | os.PathLike[str]) -> Model:
    """Return the model in the file at ``path``. Raises a ModelError that names the file."""
    return read_identified(path)[0]


def read_identified(path: str | os.PathLike[str]) -> tuple[Model, str]:
    """Return the model in the file at ``path`` and its identity in hex. Raises a ModelError."""
    path = Path(path)
    data = _content(path)
    try:
        return _decode(data)
    except ModelError as error:
        raise type(error)(f'{path}: {error}') from error


def _content(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode):  # may never end
            raise ModelNotFound(f'{path}: a device or a pipe; give a .sqz file')
        if status.st_size > MAX_FILE_BYTES:
            raise ModelInvalid(
                f'{path}: {status.st_size:,} bytes; a model file has at most {MAX_FILE_BYTES:,}'
            )
        with path.open('rb') as opened:
            return opened.read(status.st_size + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) else None
        raise ModelNotFound(f'{path}: {reason or error}; check the path') from error


def write(model: Model, path: str | os.PathLike[str], *, plain: bool = False) -> int:
    """Write ``model`` to ``path`` and return its bytes; the old file stays until then."""
    data = encode(model, plain=plain)
    atomic.replace(path, data)
    return len(data)


def encode(model: Model, *, plain: bool = False) -> bytes:
    """
    Return the bytes of ``model``'s file. Raise ModelInvalid where it contradicts itself.

    Tensors are coded where that makes the file smaller, unless ``plain`` forbids it.
    """
    meta = metadata.encode(model)
    metadata.decode(meta)  # what we would refuse to read we must not write
    trace(model)
    parts = [parts_of(tensor) for tensor in model.tensors.values()]
    stored_meta = zlib.compress(meta, 9)
    head = HEADER.size + len(stored_meta)
    tensors = _plain_section(parts)
    coded = None if plain else _coded_section(parts)
    if coded and len(coded) < len(tensors) and may_become(_bytes(parts), head + len(coded)):
        tensors = coded
    header = HEADER.pack(
        MAGIC, VERSION, 0, len(stored_meta), len(meta), len(tensors), _digest(meta, parts)
    )
    return sealed(header + stored_meta + tensors)


def decode(data: bytes) -> Model:
    """Return the model in ``data``, a whole file's bytes. Raises a ModelError."""
    return _decode(data)[0]


def identity(model: Model) -> str:
    """Return the model's identity, a SHA-256 in hex: the same however its tensors are coded."""
    meta = metadata.encode(model)
    return _digest(meta, [parts_of(tensor) for tensor in model.tensors.values()]).hex()


def _decode(data: bytes) -> tuple[Model, str]:
    """Return the model and its identity in hex."""
    meta_stored, meta_length, tensors_length, identity = _checked_header(data)
    meta = _inflate(data[HEADER.size : HEADER.size + meta_stored], meta_length)
    info = metadata.decode(meta)
    start = HEADER.size + meta_stored
    section = memoryview(data)[start : start + tensors_length]
    payloads, stream = _locate(section, info.tensors, len(data))
    trace(info.outline())  # before the tensors are made
    parts = _parts(info.tensors, payloads, stream)
    if _digest(meta, parts) != identity:
        raise ModelCorrupt('the content does not match its identity; get the file again')
    tensors = {
        tensor.name: tensor_of(tensor, found)
        for tensor, found in zip(info.tensors, parts, strict=True)
    }
    return info.model(tensors), identity.hex()


def _checked_header(data: bytes) -> tuple[int, int, int, bytes]:
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise ModelNotSqz('not a .sqz model file')
    fields = framing.checked_fields(data, HEADER, 'format')
    meta_stored, meta_length, tensors, identity = fields[3:]
    return meta_stored, meta_length, tensors, identity


def _inflate(stored: bytes, length: int) -> bytes:
    if length > MAX_META_BYTES:
        raise ModelInvalid(f'{length:,} bytes of metadata; at most {MAX_META_BYTES:,}')
    stream = zlib.decompressobj()
    try:
        meta = stream.decompress(stored, length + 1)
    except zlib.error as error:
        raise ModelInvalid(f'the metadata does not inflate: {error}') from error
    if len(meta) != length or not stream.eof or stream.unused_data:
        raise ModelInvalid(f'the metadata is not the {length:,} bytes it claims to be')
    return meta


def _locate(
    section: memoryview, infos: tuple[TensorInfo, ...], file_bytes: int
) -> tuple[list[memoryview | None], memoryview]:
    """
    Return each tensor's plain payload, None for one that is coded, and the stream of those.

    Checks every length and makes nothing. Raises ModelInvalid or ModelTooNew.
    """
    payloads: list[memoryview | None] = []
    for info in infos:
        if not len(section):
            raise ModelInvalid(f'the tensor section ends before {info.name!r}')
        coding, section = section[0], section[1:]
        if coding == PLAIN:
            payload, section = _plain_payload(section, info)
            payloads.append(payload)
        elif coding == CODED:
            payloads.append(None)
        else:
            raise ModelTooNew(
                f'{info.name!r} has the unknown coding {coding}: update sqz_perception'
            )
    coded = [info for info, payload in zip(infos, payloads, strict=True) if payload is None]
    size = sum(info.plain_bytes for info in coded)
    if coded and not may_become(size, file_bytes):
        raise ModelInvalid(f'{file_bytes:,} bytes claim to hold {size:,}; no model is like that')
    if not coded and len(section):
        raise ModelInvalid(f'{len(section):,} bytes follow the last tensor')
    return payloads, section


def _plain_payload(section: memoryview, info: TensorInfo) -> tuple[memoryview, memoryview]:
    if len(section) < LENGTH.size:
        raise ModelInvalid(f'the tensor section ends in {info.name!r}')
    (stored,) = LENGTH.unpack_from(section)
    payload, rest = section[LENGTH.size :][:stored], section[LENGTH.size + stored :]
    if stored != info.plain_bytes or len(payload) != stored:
        raise ModelInvalid(f'{info.name!r} has {stored:,} bytes, not {info.plain_bytes:,}')
    return payload, rest


def _parts(
    infos: tuple[TensorInfo, ...], payloads: list[memoryview | None], stream: memoryview
) -> list[Parts]:
    """Return each tensor's arrays. Raises a ModelError."""
    pairs = list(zip(infos, payloads, strict=True))
    kinds = [kind for info, payload in pairs if payload is None for kind in kinds_of(info)]
    arrays = iter(codec.decode(stream, kinds) if kinds else ())
    return [
        [next(arrays) for _ in kinds_of(info)] if payload is None else _plain_parts(payload, info)
        for info, payload in pairs
    ]


def _plain_parts(payload: memoryview, info: TensorInfo) -> Parts:
    parts = []
    for kind in kinds_of(info):
        little = kind.dtype.newbyteorder('<')
        parts.append(np.frombuffer(payload, little, kind.size).astype(kind.dtype))
        payload = payload[parts[-1].nbytes :]
    return parts


def may_become(size: int, file_bytes: int) -> bool:
    """Return whether a file of ``file_bytes`` may decode to ``size`` bytes."""
    return size <= MAX_CODED_BYTES + MAX_GROWTH * file_bytes


def kinds_of(info: TensorInfo) -> list[Kind]:
    """Return what a tensor's arrays are: steps or codebook, if it has any, then the values."""
    scales = info.steps + info.codebook
    scale = [Kind(np.dtype(np.float32), (scales,))] if scales else []
    return [*scale, Kind(info.dtype, info.shape)]


def parts_of(tensor: Tensor) -> Parts:
    """Return a tensor's steps (n,) or codebook (n,), if it has any, and its values."""
    scale = tensor.codebook if tensor.step is None else tensor.step
    if scale is None:
        return [tensor.values]
    return [np.asarray(scale, np.float32).reshape(-1), tensor.values]


def _plain_section(parts: list[Parts]) -> bytes:
    payloads = [b''.join(map(_little, row)) for row in parts]
    return b''.join(bytes([PLAIN]) + LENGTH.pack(len(data)) + data for data in payloads)


def _coded_section(parts: list[Parts]) -> bytes:
    return bytes([CODED]) * len(parts) + codec.encode([part for row in parts for part in row])


def _bytes(parts: list[Parts]) -> int:
    return sum(part.nbytes for row in parts for part in row)


def _little(array: NDArray) -> memoryview:
    """Return an array's bytes, little-endian, last axis fastest; a copy only where need be."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder('<')).data


def tensor_of(info: TensorInfo, parts: Parts) -> Tensor:
    """Return the tensor of which ``parts_of`` made ``parts``. Raises ModelInvalid."""
    if not all(np.isfinite(part).all() for part in parts if part.dtype.kind == 'f'):
        raise ModelInvalid(f'{info.name!r} holds values that are not finite')
    values = parts[-1].reshape(info.shape)
    if info.codebook:
        if values.max() >= info.codebook:
            raise ModelInvalid(f'{info.name!r} has a code beyond its {info.codebook} entries')
        return Tensor(info.name, values, codebook=parts[0])
    if info.step_shape is None:
        return Tensor(info.name, values)
    if not (parts[0] > 0).all():
        raise ModelInvalid(f'{info.name!r} has a step that is not positive')
    return Tensor(info.name, values, parts[0].reshape(info.step_shape))


def _digest(meta: bytes, parts: Iterable[Parts]) -> bytes:
    digest = hashlib.sha256(len(meta).to_bytes(4, 'little') + meta)
    for row in parts:
        for part in row:
            digest.update(_little(part))
    return digest.digest()
