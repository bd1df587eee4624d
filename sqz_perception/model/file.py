# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The .sqz model file: the only module that knows its bytes. ``docs/format.md`` is the specification.

A reader believes nothing it has not checked: the lengths against the file, the checksum against
the bytes, each tensor's size against what is left, and at the end the identity (a SHA-256 of
what was decoded) against the header.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np

from sqz_perception.errors import (
    ModelCorrupt,
    ModelInvalid,
    ModelNotFound,
    ModelNotSqz,
    ModelTooNew,
    ModelTruncated,
)
from sqz_perception.model import metadata
from sqz_perception.model.metadata import TensorInfo
from sqz_perception.model.network import Model, Tensor, trace

SUFFIX = '.sqz'
MAGIC = b'\x89SQZ\r\n\x1a\n'  # as PNG's: a text-mode transfer damages it visibly
VERSION = 1
HEADER = struct.Struct(
    '<8sHHIIQ32s'
)  # magic, version, reserved, meta stored, meta, tensors, identity
CHECKSUM = struct.Struct('<I')  # CRC-32 of all bytes before it
CODED = struct.Struct('<BI')  # coding, stored bytes
PLAIN = 0

MAX_FILE_BYTES = 512 * 2**20
MAX_META_BYTES = 4 * 2**20


def read(path: str | os.PathLike[str]) -> Model:
    """Return the model in the file at ``path``. Raises a ModelError that names the file."""
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelInvalid(
                f'{path}: {size:,} bytes; a model file has at most {MAX_FILE_BYTES:,}'
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelNotFound(f'{path}: {error.strerror or error}; check the path') from error
    try:
        return decode(data)
    except (ModelNotSqz, ModelTruncated, ModelCorrupt, ModelTooNew, ModelInvalid) as error:
        raise type(error)(f'{path}: {error}') from error


def write(model: Model, path: str | os.PathLike[str]) -> int:
    """Write ``model`` to ``path`` and return its bytes; the old file stays until then."""
    path = Path(path)
    data = encode(model)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    temporary = Path(name)
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
    return len(data)


def encode(model: Model) -> bytes:
    """Return the bytes of ``model``'s file. Raise ModelInvalid where it contradicts itself."""
    meta = metadata.encode(model)
    metadata.decode(meta)  # what we would refuse to read we must not write
    trace(model)
    plain = [_plain(tensor) for tensor in model.tensors.values()]
    stored_meta = zlib.compress(meta, 9)
    tensors = b''.join(CODED.pack(PLAIN, len(data)) + data for data in plain)
    header = HEADER.pack(
        MAGIC, VERSION, 0, len(stored_meta), len(meta), len(tensors), _digest(meta, plain)
    )
    body = header + stored_meta + tensors
    return body + CHECKSUM.pack(zlib.crc32(body))


def decode(data: bytes) -> Model:
    """Return the model in ``data``, a whole file's bytes. Raises a ModelError."""
    meta_stored, meta_length, tensors_length, identity = _checked_header(data)
    meta = _inflate(data[HEADER.size : HEADER.size + meta_stored], meta_length)
    info = metadata.decode(meta)
    start = HEADER.size + meta_stored
    plain = _split(memoryview(data)[start : start + tensors_length], info.tensors)
    if _digest(meta, plain) != identity:
        raise ModelCorrupt('the content does not match its identity; get the file again')
    tensors = {
        tensor.name: _tensor(tensor, payload)
        for tensor, payload in zip(info.tensors, plain, strict=True)
    }
    model = info.model(tensors)
    trace(model)
    return model


def identity(model: Model) -> str:
    """Return the model's identity, a SHA-256 in hex: the same however its tensors are coded."""
    meta = metadata.encode(model)
    return _digest(meta, [_plain(tensor) for tensor in model.tensors.values()]).hex()


def _checked_header(data: bytes) -> tuple[int, int, int, bytes]:
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
        raise ModelNotSqz('not a .sqz model file')
    if len(data) < HEADER.size:
        raise ModelTruncated(f'{len(data)} bytes are too few for a header; get the file again')
    _, version, reserved, meta_stored, meta_length, tensors, identity = HEADER.unpack_from(data)
    if version != VERSION or reserved:
        raise ModelTooNew(
            f'format version {version}, flags {reserved:#06x}; this package reads version '
            f'{VERSION}: update sqz_perception'
        )
    expected = HEADER.size + meta_stored + tensors + CHECKSUM.size
    if len(data) != expected:
        raise ModelTruncated(f'{len(data):,} bytes, not {expected:,}; get the file again')
    (checksum,) = CHECKSUM.unpack_from(data, expected - CHECKSUM.size)
    if zlib.crc32(memoryview(data)[: -CHECKSUM.size]) != checksum:
        raise ModelCorrupt('the checksum does not match: damaged on the way; get the file again')
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


def _split(section: memoryview, infos: tuple[TensorInfo, ...]) -> list[memoryview]:
    """Return each tensor's plain bytes; every length is checked before it is believed."""
    payloads = []
    for info in infos:
        if len(section) < CODED.size:
            raise ModelInvalid(f'the tensor section ends before {info.name!r}')
        coding, stored = CODED.unpack_from(section)
        if coding != PLAIN:
            raise ModelTooNew(
                f'{info.name!r} has the unknown coding {coding}: update sqz_perception'
            )
        if stored != info.plain_bytes or stored > len(section) - CODED.size:
            raise ModelInvalid(f'{info.name!r} has {stored:,} bytes, not {info.plain_bytes:,}')
        payloads.append(section[CODED.size : CODED.size + stored])
        section = section[CODED.size + stored :]
    if len(section):
        raise ModelInvalid(f'{len(section):,} bytes follow the last tensor')
    return payloads


def _plain(tensor: Tensor) -> bytes:
    """Return a tensor's plain bytes: steps or codebook, then values, last axis fastest."""
    values = tensor.values.astype(tensor.values.dtype.newbyteorder('<')).tobytes()
    scale = tensor.codebook if tensor.step is None else tensor.step
    return values if scale is None else scale.astype('<f4').tobytes() + values


def _tensor(info: TensorInfo, payload: memoryview) -> Tensor:
    scales = info.steps + info.codebook
    scale = np.frombuffer(payload, '<f4', count=scales).astype(np.float32)
    values = np.frombuffer(payload, info.dtype.newbyteorder('<'), offset=4 * scales)
    floats = (scale, values) if values.dtype.kind == 'f' else (scale,)
    if not all(np.isfinite(part).all() for part in floats):
        raise ModelInvalid(f'{info.name!r} holds values that are not finite')
    values = values.astype(info.dtype).reshape(info.shape)
    if info.codebook:
        if values.max() >= info.codebook:
            raise ModelInvalid(f'{info.name!r} has a code beyond its {info.codebook} entries')
        return Tensor(info.name, values, codebook=scale)
    if info.step_shape is None:
        return Tensor(info.name, values)
    if not (scale > 0).all():
        raise ModelInvalid(f'{info.name!r} has a step that is not positive')
    return Tensor(info.name, values, scale.reshape(info.step_shape))


def _digest(meta: bytes, plain: list[bytes] | list[memoryview]) -> bytes:
    digest = hashlib.sha256(len(meta).to_bytes(4, 'little') + meta)
    for payload in plain:
        digest.update(payload)
    return digest.digest()
