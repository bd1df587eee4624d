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
"""Model files that were changed and made to look whole again, as an attacker would."""

from __future__ import annotations

from sqz_perception.model import file, framing


def reseal(data: bytes) -> bytes:
    """Return ``data`` with the checksum that fits it in place of its last bytes."""
    return framing.sealed(data[: -framing.CHECKSUM.size])


def with_section(data: bytes, section: bytes) -> bytes:
    """Return the file with another tensor section."""
    fields = list(file.HEADER.unpack_from(data))
    fields[5] = len(section)
    head = file.HEADER.pack(*fields) + data[file.HEADER.size : file.HEADER.size + fields[3]]
    return reseal(head + section + bytes(framing.CHECKSUM.size))
