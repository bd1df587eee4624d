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
A robot's side of the transfer: messages in any order -> whole files, and replies.

Knows neither ROS nor disks nor clocks: the caller passes the time. Signed metadata is small and is
taken from anybody; of any other file only what ``want`` allows. All that a stranger can fill is
bounded by ``Limits``. A file that does not have its hash loses its parity and those blocks that
do not have their signed hashes; chunks are then taken one by one, so that a forged one costs a
round and not the update.
"""

from __future__ import annotations

import hashlib
import random
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqz_perception.errors import MessageInvalid
from sqz_perception.update import parity, wire
from sqz_perception.update.wire import Announce, Chunk, Kind, Parity, Reply, State

MAX_BLOCKS = 64  # of a file; a block is a whole number of chunks
HASH_BYTES = 4  # of a block's SHA-256


@dataclass(frozen=True)
class Limits:
    """What a stranger can make a robot hold or send."""

    metadata_bytes: int = 64 * 2**10  # of one bundle of signed metadata
    target_bytes: int = 16 * 2**20  # of one model or delta
    bundles: int = 4  # bundles received at once; the one silent for longest goes
    remembered: int = 64  # files whose outcome is kept, to answer announcements
    quiet: float = 1.5  # seconds without a message before a robot asks again
    slowest: float = 30.0  # seconds between two such requests, at most
    restarts: int = 3  # times a bundle is received again after a wrong hash


@dataclass(frozen=True)
class Complete:
    """A file that has its hash."""

    kind: Kind
    sha256: bytes
    data: bytes


@dataclass(frozen=True)
class Damaged:
    """A file that came in full but did not have its hash; it is being received again."""

    sha256: bytes


@dataclass
class _Incoming:
    """One file on its way."""

    announce: Announce
    decoder: parity.Decoder = field(init=False)
    chunks: dict[int, bytes] = field(default_factory=dict)
    blocks: bytes = b''  # what ``block_hashes`` gives for the file; empty: not known
    one_by_one: bool = False  # after damage: no parity
    restarts: int = 0
    heard: float = 0.0  # when the last message came
    due: float | None = None  # when the next reply is to be sent
    pause: float = 0.0  # seconds until a reply without being asked

    def __post_init__(self) -> None:
        self.decoder = parity.Decoder(self.announce.count)

    def add_chunk(self, chunk: Chunk) -> None:
        if chunk.index >= self.announce.count or chunk.index in self.chunks:
            return
        if len(chunk.data) != self.announce.size(chunk.index):
            return
        self.chunks[chunk.index] = chunk.data
        self.decoder.add(1 << chunk.index, chunk.data)

    def add_parity(self, message: Parity) -> None:
        if self.one_by_one or len(message.data) != self.announce.size(0):
            return
        mask = parity.chosen(message.file, message.seed, self.announce.count)
        self.decoder.add(mask, message.data)

    def content(self) -> bytes | None:
        """Return the file if it is complete and has its hash."""
        try:
            data = b''.join(
                self.decoder.solve([self.announce.size(i) for i in range(self.announce.count)])
            )
        except ValueError:
            return None
        return data if hashlib.sha256(data).digest() == self.announce.sha256 else None

    def begin_again(self) -> None:
        """Keep only blocks that have their hashes, and take no more parity."""
        kept = self._sound_chunks()
        self.one_by_one, self.chunks = True, {}
        self.decoder = parity.Decoder(self.announce.count)
        for index, data in kept.items():
            self.add_chunk(Chunk(b'', index, data))

    def _sound_chunks(self) -> dict[int, bytes]:
        sound: dict[int, bytes] = {}
        for number, indices in enumerate(blocks_of(self.announce.count)):
            block = {i: self.chunks[i] for i in indices if i in self.chunks}
            expected = self.blocks[number * HASH_BYTES :][:HASH_BYTES]
            if len(block) == len(indices) and expected == _short_hash(b''.join(block.values())):
                sound.update(block)
        return sound

    def missing(self) -> tuple[int, int]:
        """Return the first chunk that is missing, and bits for it and those behind it."""
        indices = [i for i in range(self.announce.count) if i not in self.chunks]
        first = indices[0] if indices else 0
        window = (i - first for i in indices)
        return first, sum(1 << i for i in window if i < wire.BITMAP_CHUNKS)


class Receiver:
    """Collects files for one robot. ``release`` and ``identity`` are what it tells senders."""

    def __init__(self, robot: str, ring: str = '', limits: Limits | None = None) -> None:
        self.robot = robot
        self.ring = ring
        self.limits = limits or Limits()
        self.release = 0
        self.identity = bytes(8)
        self.refused_messages = 0
        self._random = random.Random(robot)
        self._incoming: dict[bytes, _Incoming] = {}  # by id
        self._outcomes: OrderedDict[bytes, tuple[State, str]] = OrderedDict()  # by id
        self._answers: dict[bytes, tuple[float, int]] = {}  # id -> when due, round

    def want(self, sha256: bytes, length: int, now: float, blocks: bytes = b'') -> None:
        """
        Take the file with that hash from now on; ``blocks`` are its signed ``block_hashes``.

        Raises ValueError for a file beyond the limit.
        """
        if length > self.limits.target_bytes:
            raise ValueError(f'{length:,} bytes; at most {self.limits.target_bytes:,}')
        announce = Announce(Kind.TARGET, sha256, length)
        self._outcomes.pop(announce.id, None)
        self._incoming[announce.id] = _Incoming(
            announce, blocks=blocks, heard=now, pause=self.limits.quiet
        )

    def want_nothing(self) -> None:
        """Drop all models and deltas that are wanted or on their way."""
        for id_, file in list(self._incoming.items()):
            if file.announce.kind == Kind.TARGET:
                del self._incoming[id_]

    def conclude(self, sha256: bytes, state: State, reason: str = '') -> None:
        """Answer announcements of that file with ``state`` from now on."""
        id_ = sha256[: wire.ID_BYTES]
        self._outcomes[id_] = state, reason
        self._outcomes.move_to_end(id_)
        while len(self._outcomes) > self.limits.remembered:
            self._outcomes.popitem(last=False)

    def tell(self, sha256: bytes, now: float) -> None:
        """Send the outcome of a file with the next replies, without being asked."""
        self._answers[sha256[: wire.ID_BYTES]] = now, 0

    def receive(self, data: bytes, now: float) -> Complete | Damaged | None:
        """Take one message; return what it completed. Never raises for what a stranger sent."""
        try:
            message = wire.parse(data)
        except MessageInvalid:
            self.refused_messages += 1
            return None
        if isinstance(message, Announce):
            self._announced(message, now)
            return None
        if isinstance(message, Reply):
            return None
        file = self._incoming.get(message.file)
        if file is None:
            return None
        file.heard, file.pause = now, self.limits.quiet
        if isinstance(message, Chunk):
            file.add_chunk(message)
        else:
            file.add_parity(message)
        return None if file.decoder.needed else self._finished(file, now)

    def replies(self, now: float) -> Iterator[bytes]:
        """Yield the replies that are due."""
        for id_, (due, number) in list(self._answers.items()):
            if now >= due:
                del self._answers[id_]
                if id_ in self._outcomes:
                    state, reason = self._outcomes[id_]
                    yield self._reply(id_, state, round=number, reason=reason)
        for id_, file in self._incoming.items():
            asked = file.due is not None and now >= file.due
            if not asked and now < file.heard + file.pause:
                continue
            file.heard, file.due = now, None
            file.pause = min(max(2 * file.pause, self.limits.quiet), self.limits.slowest)
            first, missing = file.missing() if file.one_by_one else (0, 0)
            needed = {'needed': file.decoder.needed, 'first': first, 'missing': missing}
            yield self._reply(id_, State.RECEIVING, round=file.announce.round, **needed)

    def progress(self) -> dict[str, tuple[int, int]]:
        """Return messages received and needed in all, for each file by the start of its hash."""
        return {
            id_.hex(): (file.announce.count - file.decoder.needed, file.announce.count)
            for id_, file in self._incoming.items()
        }

    def _announced(self, announce: Announce, now: float) -> None:
        if announce.ring not in ('', self.ring):
            return
        due = now + self._random.random() * announce.spread / 1e3
        if announce.id in self._outcomes:
            self._answers[announce.id] = due, announce.round
            return
        file = self._incoming.get(announce.id)
        if file is None:
            too_large = announce.length > self.limits.metadata_bytes
            if announce.kind != Kind.METADATA or too_large:
                return
            file = self._incoming[announce.id] = _Incoming(announce)
            self._make_room()
        elif (file.announce.sha256, file.announce.length) != (announce.sha256, announce.length):
            return  # one of the two is forged; the first is kept
        file.announce = announce
        file.heard, file.pause, file.due = now, self.limits.quiet, due

    def _make_room(self) -> None:
        bundles = [f for f in self._incoming.values() if f.announce.kind == Kind.METADATA]
        if len(bundles) > self.limits.bundles:
            oldest = min(bundles[:-1], key=lambda file: file.heard)
            del self._incoming[oldest.announce.id]

    def _finished(self, file: _Incoming, now: float) -> Complete | Damaged | None:
        announce = file.announce
        data = file.content()
        if data is not None:
            del self._incoming[announce.id]
            self.conclude(announce.sha256, State.RECEIVED)
            return Complete(announce.kind, announce.sha256, data)
        file.restarts += 1
        if announce.kind == Kind.METADATA and file.restarts > self.limits.restarts:
            del self._incoming[announce.id]
            return None
        file.begin_again()
        file.due = now
        return Damaged(announce.sha256)

    def _reply(self, id_: bytes, state: State, **fields: int | str) -> bytes:
        serving = {'release': self.release, 'identity': self.identity}
        return wire.pack(Reply(self.robot, id_, state, **serving, **fields))  # type: ignore[arg-type]


def block_hashes(data: bytes) -> bytes:
    """Return HASH_BYTES for each block of a file, to be signed with it."""
    size = wire.CHUNK
    blocks = blocks_of(-(-len(data) // size))
    return b''.join(_short_hash(data[b.start * size : b.stop * size]) for b in blocks)


def blocks_of(count: int) -> list[range]:
    """Return the chunks of each block of a file of ``count`` chunks."""
    size = -(-count // MAX_BLOCKS)
    return [range(i, min(i + size, count)) for i in range(0, count, size)]


def _short_hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:HASH_BYTES]
