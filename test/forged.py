# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Model files that were changed and made to look whole again, as an attacker would."""

from __future__ import annotations

import zlib

from sqz_perception.model import file


def reseal(data: bytes) -> bytes:
    """Return ``data`` with the checksum that fits it in place of its last bytes."""
    body = data[: -file.CHECKSUM.size]
    return body + file.CHECKSUM.pack(zlib.crc32(body))


def with_section(data: bytes, section: bytes) -> bytes:
    """Return the file with another tensor section."""
    fields = list(file.HEADER.unpack_from(data))
    fields[5] = len(section)
    head = file.HEADER.pack(*fields) + data[file.HEADER.size : file.HEADER.size + fields[3]]
    return reseal(head + section + bytes(file.CHECKSUM.size))
