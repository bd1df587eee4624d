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
"""Files cross a bad link to one robot and to many, and strangers can only slow them down."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqz_perception.update import parity, wire
from sqz_perception.update.receiver import (
    Complete,
    Damaged,
    Limits,
    Receiver,
    block_hashes,
    blocks_of,
)
from sqz_perception.update.sender import Pace, Sender
from sqz_perception.update.wire import Announce, Chunk, Kind, Parity, Reply, State

TICK = 0.01  # seconds
METADATA = random.Random(1).randbytes(900)
MODEL = random.Random(2).randbytes(100_000)

Tamper = Callable[[bytes], list[bytes]]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@dataclass
class Link:
    """A link that loses, repeats and reorders messages, between senders and robots."""

    senders: list[Sender]
    robots: list[Receiver]
    loss: float = 0.0
    tamper: Tamper = lambda data: [data]
    seed: int = 0
    now: float = 0.0
    received: dict[str, list[bytes]] = field(default_factory=dict)
    damaged: int = 0

    def run(self, target: bytes, until: float = 60.0) -> None:
        """Run until every robot has ``target``, which it wants once it has the metadata."""
        rng = random.Random(self.seed)
        while self.now < until and not self.all_have(target):
            self.tick(rng, target)

    def all_have(self, target: bytes) -> bool:
        return all(target in self.received.get(robot.robot, []) for robot in self.robots)

    def tick(self, rng: random.Random, target: bytes) -> None:
        for message in self.sent(rng):
            for robot in self.robots:
                if rng.random() >= self.loss:
                    self.deliver(robot, message, target)
        for robot in self.robots:
            for reply in robot.replies(self.now):
                for sender in self.senders:
                    if rng.random() >= self.loss:
                        sender.receive(reply)
        self.now += TICK

    def sent(self, rng: random.Random) -> Iterator[bytes]:
        messages = []
        for sender in self.senders:
            while (message := sender.next_message(self.now)) is not None:
                messages += self.tamper(message)
        if self.loss:
            messages += [m for m in messages if rng.random() < 0.1]
            rng.shuffle(messages)
        yield from messages

    def deliver(self, robot: Receiver, message: bytes, target: bytes) -> None:
        event = robot.receive(message, self.now)
        if isinstance(event, Damaged):
            self.damaged += 1
        if isinstance(event, Complete):
            self.received.setdefault(robot.robot, []).append(event.data)
            if event.kind == Kind.METADATA:
                robot.want(sha(target), len(target), self.now)


def robots(count: int, **options: object) -> list[Receiver]:
    return [Receiver(f'robot{i}', **options) for i in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ('count', 'loss', 'most'),
    [(1, 0.0, 1.06), (5, 0.0, 1.06), (1, 0.3, 1.65), (5, 0.3, 1.8), (30, 0.01, 1.15)],
)
def test_a_model_arrives_and_costs_little_more_than_its_bytes(
    count: int, loss: float, most: float
) -> None:
    link = Link([Sender(METADATA, [MODEL])], robots(count), loss)
    link.run(MODEL)
    assert link.all_have(MODEL)
    assert link.senders[0].sent_bytes < most * len(MODEL)


@settings(max_examples=15)
@given(st.integers(1, 40_000), st.integers(1, 3), st.floats(0, 0.5), st.integers(0, 99))
def test_any_size_over_any_link(size: int, count: int, loss: float, seed: int) -> None:
    target = random.Random(seed).randbytes(size)
    link = Link([Sender(METADATA, [target, MODEL])], robots(count), loss, seed=seed)
    link.run(target, until=300)
    assert link.all_have(target)
    assert not any(MODEL in files for files in link.received.values())  # nobody wanted it


def test_a_robot_that_comes_late_and_a_sender_that_starts_again() -> None:
    link = Link([Sender(METADATA, [MODEL])], robots(1), 0.1)
    link.run(MODEL, until=1.1)
    assert not link.all_have(MODEL)
    link.senders = [Sender(METADATA, [MODEL], first_seed=1000)]
    link.robots += [Receiver('late')]
    link.run(MODEL)
    assert link.all_have(MODEL)


def test_two_senders_at_once_share_the_work() -> None:
    senders = [Sender(METADATA, [MODEL], first_seed=seed) for seed in (0, 2**16)]
    link = Link(senders, robots(2), 0.2)
    link.run(MODEL)
    assert link.all_have(MODEL)


def test_only_the_ring_that_is_meant_replies() -> None:
    others = [Receiver('a', ring='canary'), Receiver('b', ring='rest')]
    link = Link([Sender(METADATA, [MODEL], ring='canary')], others)
    link.run(MODEL, until=5)
    assert MODEL in link.received['a']
    assert 'b' not in link.received


def test_nothing_of_a_model_is_taken_before_it_is_wanted() -> None:
    robot = Receiver('r')
    announce = wire.pack(Announce(Kind.TARGET, sha(MODEL), len(MODEL)))
    robot.receive(announce, 0.0)
    robot.receive(wire.pack(Chunk(sha(MODEL)[:8], 0, MODEL[: wire.CHUNK])), 0.0)
    assert not robot.progress()
    assert not list(robot.replies(100.0))


def forge(kind: type, times: int) -> Tamper:
    """Return a link on which a stranger adds ``times`` forged messages of a kind."""
    left = [times]

    def tamper(data: bytes) -> list[bytes]:
        message = wire.parse(data)
        if not isinstance(message, kind) or not left[0]:
            return [data]
        assert isinstance(message, Chunk | Parity)
        left[0] -= 1
        forged = bytes(byte ^ 255 for byte in message.data)
        return [wire.pack(replace(message, data=forged)), data]

    return tamper


def test_forged_parity_costs_a_round_and_not_the_update() -> None:
    link = Link([Sender(METADATA, [MODEL])], robots(1), 0.3, tamper=forge(Parity, 9))
    link.run(MODEL)
    assert link.damaged == 1
    assert link.all_have(MODEL)
    assert link.senders[0].sent_bytes < 4 * len(MODEL)


@pytest.mark.parametrize('size', [2_000, 100_000, 300_000])
def test_a_forged_chunk_costs_its_block_where_blocks_have_signed_hashes(size: int) -> None:
    data = random.Random(size).randbytes(size)
    chunks = [data[i : i + wire.CHUNK] for i in range(0, size, wire.CHUNK)]
    robot = Receiver('r')
    robot.want(sha(data), size, 0.0, block_hashes(data))
    messages = [wire.pack(Chunk(sha(data)[:8], i, chunk)) for i, chunk in enumerate(chunks)]
    forged = wire.pack(Chunk(sha(data)[:8], 0, bytes(wire.CHUNK)))
    events = [robot.receive(message, 0.0) for message in [forged, *messages]]
    assert events[-1] == Damaged(sha(data))
    (reply,) = (wire.parse(answer) for answer in robot.replies(0.0))
    assert isinstance(reply, Reply)
    block = blocks_of(len(chunks))[0]
    assert (reply.needed, reply.first) == (len(block), 0)
    assert reply.missing == (1 << len(block)) - 1
    done = [robot.receive(messages[i], 0.0) for i in block]
    assert done[-1] == Complete(Kind.TARGET, sha(data), data)


def test_a_forged_first_announcement_does_not_block_the_true_metadata() -> None:
    robot = Receiver('r')
    for i in range(100):
        robot.receive(wire.pack(Announce(Kind.METADATA, sha(bytes([i])), 60_000)), i / 1e3)
    assert len(robot.progress()) <= Limits().bundles
    link = Link([Sender(METADATA, [MODEL])], [robot], now=1.0)
    link.run(MODEL)
    assert link.all_have(MODEL)


def test_metadata_beyond_the_limit_is_not_taken() -> None:
    robot = Receiver('r')
    robot.receive(wire.pack(Announce(Kind.METADATA, sha(MODEL), Limits().metadata_bytes + 1)), 0)
    assert not robot.progress()
    with pytest.raises(ValueError, match='at most'):
        robot.want(sha(MODEL), Limits().target_bytes + 1, 0.0)


def test_robots_that_ask_for_ever_get_no_more_than_the_budget() -> None:
    sender = Sender(METADATA, [MODEL], pace=Pace(rate=100e6, budget=3.0))
    asks = [
        wire.pack(Reply('liar', sha(data)[:8], State.RECEIVING, 0xFFFF))
        for data in (METADATA, MODEL)
    ]
    now = 0.0
    while now < 600.0:
        while sender.next_message(now) is not None:
            pass
        for ask in asks:
            sender.receive(ask)
        now += 0.2
    assert sender.sent_bytes < 6 * (len(METADATA) + len(MODEL))


def test_the_outcome_is_told_once_per_announcement() -> None:
    robot = Receiver('r')
    robot.conclude(sha(METADATA), State.COMMITTED)
    announce = wire.pack(Announce(Kind.METADATA, sha(METADATA), len(METADATA), 4))
    robot.receive(announce, 0.0)
    (reply,) = (wire.parse(data) for data in robot.replies(1.0))
    assert isinstance(reply, Reply)
    assert (reply.state, reply.round) == (State.COMMITTED, 4)
    assert not list(robot.replies(100.0))


def test_a_robot_asks_again_but_ever_less_often() -> None:
    robot = Receiver('r')
    robot.want(sha(MODEL), len(MODEL), 0.0)
    asked = [now / 10 for now in range(3000) if list(robot.replies(now / 10))]
    gaps = [b - a for a, b in pairwise(asked)]
    assert 3 < len(asked) < 20
    assert gaps == sorted(gaps)
    assert gaps[-1] <= Limits().slowest + 0.2


@given(st.integers(1, 60), st.integers(0, 99))
def test_independent_rows_give_all_chunks(count: int, seed: int) -> None:
    rng = random.Random(seed)
    chunks = [rng.randbytes(16) for _ in range(count)]
    decoder = parity.Decoder(count)
    rows = 0
    while decoder.needed:
        mask = parity.chosen(b'file', rows, count)
        assert decoder.add(mask, parity.encode(chunks, b'file', rows)) or rows
        rows += 1
    assert decoder.solve([16] * count) == chunks
    assert rows < count + 20
