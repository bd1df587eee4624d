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
The messages of an update, byte by byte. ``docs/protocol.md`` is the specification.

A sender announces files and sends their chunks and parity; a robot replies with what it needs and
how it is. Nothing here is authenticated: what a message claims is checked by its reader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from sqz_perception.errors import MessageInvalid

MAX_MESSAGE = 1200  # bytes: fits one Ethernet frame with the headers of RTPS, UDP and IP
CHUNK = 1180  # bytes of each chunk of a file but the last
MAX_CHUNKS = 2**16  # of a file
MAX_NAME = 64  # bytes of a robot's name or of a ring's
MAX_REASON = 200  # bytes
ID_BYTES = 8  # the start of a file's SHA-256 stands for it in chunks
BITMAP_CHUNKS = 64  # chunks that the bitmap of a reply covers

MAGIC = b'SQ'
VERSION = 1
_HEAD = struct.Struct('<2sBB')  # magic, version, type
_ANNOUNCE = struct.Struct('<B32sIHH')  # kind, SHA-256, length, round, spread
_CHUNK = struct.Struct('<8sH')  # file, index
_PARITY = struct.Struct('<8sI')  # file, seed
# file, state, needed, round, first and missing, release and identity in use
_REPLY = struct.Struct('<8sBHHHQI8s')


class State(IntEnum):
    """How a robot is."""

    RECEIVING = 0  # it needs more of the file
    RECEIVED = 1  # it has the file
    REFUSED = 2  # the release or the file may not be installed; the reason says why
    STAGED = 3  # the new model is ready to be activated
    TRIAL = 4  # it runs and is watched
    COMMITTED = 5  # it runs for good
    ROLLED_BACK = 6  # the model before runs again; the reason says why


class Kind(IntEnum):
    """What a file is for."""

    METADATA = 0  # signed metadata: any robot takes it
    TARGET = 1  # a model or a delta: a robot takes it where signed metadata names it


@dataclass(frozen=True)
class Announce:
    """A file that a sender has. ``round`` rises each time it has sent what robots asked for."""

    kind: Kind
    sha256: bytes
    length: int  # bytes
    round: int = 0
    spread: int = 0  # ms over which robots spread their replies
    ring: str = ''  # only robots of this ring reply; empty: all

    @property
    def count(self) -> int:
        """Return the number of chunks."""
        return -(-self.length // CHUNK)

    def size(self, index: int) -> int:
        """Return the bytes of chunk ``index``."""
        return min(CHUNK, self.length - index * CHUNK)

    @property
    def id(self) -> bytes:
        return self.sha256[:ID_BYTES]


@dataclass(frozen=True)
class Chunk:
    """A piece of a file."""

    file: bytes
    index: int
    data: bytes


@dataclass(frozen=True)
class Parity:
    """The exclusive or of the chunks that ``parity.chosen`` names for the seed."""

    file: bytes
    seed: int
    data: bytes


@dataclass(frozen=True)
class Reply:
    """
    What a robot has and needs: ``needed`` messages of a file, whichever they are.

    A robot that can use certain chunks only names them: bit i of ``missing`` is chunk first + i.
    """

    robot: str
    file: bytes
    state: State
    needed: int = 0  # more chunks, whichever
    round: int = 0  # of the announcement that is answered
    first: int = 0
    missing: int = 0
    release: int = 0  # of the model in use
    identity: bytes = bytes(8)  # the start of its identity
    reason: str = ''


Message: TypeAlias = Announce | Chunk | Parity | Reply
_TYPES: tuple[type, ...] = (Announce, Chunk, Parity, Reply)


def pack(message: Message) -> bytes:
    """Return the bytes of a message."""
    head = _HEAD.pack(MAGIC, VERSION, _TYPES.index(type(message)))
    if isinstance(message, Announce):
        numbers = message.length, message.round & 0xFFFF, message.spread
        fields = _ANNOUNCE.pack(message.kind, message.sha256, *numbers)
        return head + fields + _text(message.ring, MAX_NAME)
    if isinstance(message, Chunk):
        return head + _CHUNK.pack(message.file, message.index) + message.data
    if isinstance(message, Parity):
        return head + _PARITY.pack(message.file, message.seed) + message.data
    fields = _REPLY.pack(
        *(message.file, message.state, min(message.needed, 0xFFFF), message.round & 0xFFFF),
        *(message.first, message.missing, message.release, message.identity),
    )
    return head + fields + _text(message.robot, MAX_NAME) + _text(message.reason, MAX_REASON)


def parse(data: bytes) -> Message:
    """Return the message in ``data``. Raises MessageInvalid."""
    if len(data) > MAX_MESSAGE:
        raise MessageInvalid(f'a message of {len(data):,} bytes; at most {MAX_MESSAGE:,}')
    try:
        magic, version, kind = _HEAD.unpack_from(data)
    except struct.error:
        raise MessageInvalid(f'a message of {len(data)} bytes is too short') from None
    if (magic, version) != (MAGIC, VERSION) or kind >= len(_PARSERS):
        raise MessageInvalid('not a message of this protocol, or of a newer version')
    try:
        return _PARSERS[kind](data[_HEAD.size :])
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise MessageInvalid(f'a damaged message: {error}') from error


def _announce(body: bytes) -> Announce:
    kind, sha256, length, number, spread = _ANNOUNCE.unpack_from(body)
    ring, rest = _take_text(body[_ANNOUNCE.size :])
    if not 0 < length <= MAX_CHUNKS * CHUNK or rest:
        raise ValueError('an announcement of an impossible size')
    return Announce(Kind(kind), sha256, length, number, spread, ring)


def _chunk(body: bytes) -> Chunk:
    file, index = _CHUNK.unpack_from(body)
    return Chunk(file, index, body[_CHUNK.size :])


def _parity(body: bytes) -> Parity:
    file, seed = _PARITY.unpack_from(body)
    return Parity(file, seed, body[_PARITY.size :])


def _reply(body: bytes) -> Reply:
    file, state, needed, number, first, missing, release, identity = _REPLY.unpack_from(body)
    robot, rest = _take_text(body[_REPLY.size :])
    reason, rest = _take_text(rest)
    if rest or not robot:
        raise ValueError('a reply without a name, or with a tail')
    serving = release, identity, reason
    return Reply(robot, file, State(state), needed, number, first, missing, *serving)


_PARSERS = (_announce, _chunk, _parity, _reply)


def _text(text: str, most: int) -> bytes:
    """Return at most ``most`` bytes of UTF-8 behind their number."""
    data = text.encode()[:most].decode(errors='ignore').encode()
    return bytes([len(data)]) + data


def _take_text(data: bytes) -> tuple[str, bytes]:
    if not data or len(data) < 1 + data[0]:
        raise ValueError('a text ends too early')
    text = data[1 : 1 + data[0]].decode()
    if not text.isprintable():
        raise ValueError('a text that is not printable')
    return text, data[1 + data[0] :]
