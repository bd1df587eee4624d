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
A workstation's side of the transfer: files -> messages, steered by the robots' replies.

A round announces all files, waits for replies, and sends what was asked for: whole files at
first, later as many parity messages as the neediest robot lacks, so that one broadcast serves a
fleet. The first rounds serve the metadata only: without it a robot takes no part of a model.
Knows neither ROS nor clocks: the caller passes the time and sends what ``next_message`` returns.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sqz_perception.errors import MessageInvalid
from sqz_perception.update import parity, wire
from sqz_perception.update.wire import Announce, Chunk, Kind, Parity, Reply, State

SPARE = 2  # parity messages beyond what the neediest robot lacks: random rows may repeat
MAX_ROBOTS = 10_000  # whose replies are kept; forged names must not fill the memory
FINAL = (State.REFUSED, State.COMMITTED, State.ROLLED_BACK)


@dataclass(frozen=True)
class Pace:
    """How fast a sender sends and how long it waits."""

    rate: float = 500e3  # bytes a second
    spread: float = 0.1  # seconds over which robots spread their replies
    window: float = 0.2  # seconds of waiting for replies after an announcement
    greetings: int = 4  # rounds in which nobody asks for metadata before models are sent
    idle: float = 1.0  # seconds between announcements while nobody needs anything
    budget: float = 20.0  # times the bytes of all files, after which only announcements are sent


@dataclass
class _Outgoing:
    """One file, and what robots asked for since the last round."""

    announce: Announce
    chunks: list[bytes]
    sent: bool = False  # all chunks, at least once
    seed: int = 0
    needed: int = 0
    missing: set[int] = field(default_factory=set)

    def ask(self, reply: Reply) -> None:
        count = len(self.chunks)
        if reply.missing:
            bits = (i for i in range(wire.BITMAP_CHUNKS) if reply.missing >> i & 1)
            self.missing.update(reply.first + i for i in bits if reply.first + i < count)
        else:
            self.needed = max(self.needed, min(reply.needed, count))

    def messages(self) -> Iterator[Chunk | Parity]:
        """Yield what the replies asked for, and forget them."""
        needed, missing = self.needed, self.missing
        self.needed, self.missing = 0, set()
        if needed == len(self.chunks) or (needed and not self.sent):
            needed, missing, self.sent = 0, set(range(len(self.chunks))), True
        for index in sorted(missing):
            yield Chunk(self.announce.id, index, self.chunks[index])
        for _ in range(needed + SPARE if needed else 0):
            self.seed += 1
            value = parity.encode(self.chunks, self.announce.id, self.seed)
            yield Parity(self.announce.id, self.seed, value)


class Sender:
    """Broadcasts files; ``robots`` holds each robot's last reply about the file ``outcome_of``."""

    def __init__(
        self,
        metadata: bytes,
        targets: Sequence[bytes],
        *,
        ring: str = '',
        pace: Pace | None = None,
        first_seed: int = 0,
    ) -> None:
        """``first_seed`` differs between senders of one file, so that their parity differs."""
        self._pace = pace or Pace()
        spread = round(self._pace.spread * 1e3)
        kinds = [(Kind.METADATA, metadata), *((Kind.TARGET, target) for target in targets)]
        self._files = {
            file.announce.id: file
            for file in (_outgoing(kind, data, ring, spread, first_seed) for kind, data in kinds)
        }
        self.outcome_of = hashlib.sha256(metadata).digest()[: wire.ID_BYTES]
        self.robots: dict[str, Reply] = {}
        self.progress: dict[str, Reply] = {}
        self.sent_bytes = 0
        self._budget = self._pace.budget * (len(metadata) + sum(map(len, targets)))
        self._round = 0
        self._greetings = 0  # rounds so far in which nobody asked for metadata
        self._queue: deque[wire.Message] = deque()
        self._next = 0.0  # when the next message may be sent
        self._closes: float | None = None  # when the window for replies closes

    def receive(self, data: bytes) -> None:
        """Take a robot's reply. Whatever else it is, it is ignored."""
        try:
            reply = wire.parse(data)
        except MessageInvalid:
            return
        if not isinstance(reply, Reply) or reply.file not in self._files:
            return
        known = reply.robot in self.progress or len(self.progress) < MAX_ROBOTS
        if not known:
            return
        self.progress[reply.robot] = reply
        if reply.state == State.RECEIVING:
            # What was asked for before this round's messages has been sent since.
            if not self._queue:
                self._files[reply.file].ask(reply)
        elif reply.file == self.outcome_of:
            self.robots[reply.robot] = reply

    def next_message(self, now: float) -> bytes | None:
        """Return the message to send now, or None until there is one."""
        if now < self._next:
            return None
        if not self._queue:
            self._fill(now)
        if not self._queue:
            return None
        data = wire.pack(self._queue.popleft())
        self._next = max(self._next, now - 0.1) + len(data) / self._pace.rate
        self.sent_bytes += len(data)
        if not self._queue:
            self._closes = now + self._pace.window
        return data

    def _fill(self, now: float) -> None:
        """Queue what was asked for, behind it an announcement; or only that, from time to time."""
        if self._closes is not None and now < self._closes:
            return
        asked = self._asked() if self.sent_bytes < self._budget else []
        greeting = self._greetings <= self._pace.greetings
        idle = 0.0 if greeting else self._pace.idle
        if not asked and self._closes is not None and now < self._closes + idle:
            return
        self._round += bool(asked)
        announces = (replace(f.announce, round=self._round) for f in self._files.values())
        self._queue.extend([*asked, *announces])

    def _asked(self) -> list[wire.Message]:
        metadata, *targets = self._files.values()
        asked: list[wire.Message] = list(metadata.messages())
        self._greetings += not asked
        if not asked and self._greetings > self._pace.greetings:
            asked = [message for file in targets for message in file.messages()]
        return asked


def _outgoing(kind: Kind, data: bytes, ring: str, spread: int, seed: int) -> _Outgoing:
    chunks = [data[i : i + wire.CHUNK] for i in range(0, len(data), wire.CHUNK)]
    announce = Announce(kind, hashlib.sha256(data).digest(), len(data), 0, spread, ring)
    return _Outgoing(announce, chunks, seed=seed)
