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
"""What files of models and of deltas share: a header with lengths, and a checksum at the end."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from sqz_perception.errors import ModelCorrupt, ModelTooNew, ModelTruncated

VERSION = 1
CHECKSUM = struct.Struct('<I')  # CRC-32 of all bytes before it


def checked_fields(data: bytes, header: struct.Struct, kind: str) -> tuple[Any, ...]:
    """
    Return the header's fields once its version, the file's length and its checksum are right.

    They begin with magic, version, reserved, the bytes of the stored metadata, those of the
    inflated, and those of the rest. ``kind`` is what messages call the version. Raises
    ModelTruncated, ModelTooNew or ModelCorrupt.
    """
    if len(data) < header.size:
        raise ModelTruncated(f'{len(data)} bytes are too few for a header; get the file again')
    fields = header.unpack_from(data)
    _, version, reserved, stored, _, rest = fields[:6]
    if version != VERSION or reserved:
        raise ModelTooNew(
            f'{kind} version {version}, flags {reserved:#06x}; this package reads version '
            f'{VERSION}: update sqz_perception'
        )
    expected = header.size + stored + rest + CHECKSUM.size
    if len(data) != expected:
        raise ModelTruncated(f'{len(data):,} bytes, not {expected:,}; get the file again')
    (checksum,) = CHECKSUM.unpack_from(data, expected - CHECKSUM.size)
    if zlib.crc32(memoryview(data)[: -CHECKSUM.size]) != checksum:
        raise ModelCorrupt('the checksum does not match: damaged on the way; get the file again')
    return fields


def sealed(data: bytes) -> bytes:
    """Return ``data`` with its checksum."""
    return data + CHECKSUM.pack(zlib.crc32(data))
