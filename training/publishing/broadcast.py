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
"""Broadcast a release over ROS 2 and show a table with a row for each robot."""

from __future__ import annotations

import array
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.live import Live
from rich.table import Table
from std_msgs.msg import UInt8MultiArray

from sqz_perception.update.sender import FINAL, Pace, Sender
from sqz_perception.update.trust import pack
from sqz_perception.update.wire import Reply, State
from training.publishing.repository import Repository

QOS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
TICK = 0.002  # seconds
FAILED = (State.REFUSED, State.ROLLED_BACK)


def broadcast(
    repository: Repository,
    *,
    topic: str,
    ring: str,
    rate: float,
    expect: int,
    stop_after: int,
    seconds: float,
) -> int:
    """
    Send the newest release until ``expect`` robots have ended, or for ``seconds``.

    Return 0 where no robot failed, 1 where one did or none replied.
    """
    targets = [data for _, data in repository.files()]
    seed = int.from_bytes(os.urandom(3), 'little') << 8  # another sender's parity is other parity
    sender = Sender(
        pack(repository.bundle()), targets, ring=ring, pace=Pace(rate=rate), first_seed=seed
    )
    rclpy.init()
    node = Node('update_sender')
    try:
        with Live(table(sender.robots.values()), refresh_per_second=4) as live:
            _send(node, sender, topic, lambda: live.update(table(rows(sender))),
                  expect, stop_after, seconds)  # fmt: skip
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    ended = Counter(reply.state in FAILED for reply in sender.robots.values())
    return 0 if ended[False] and not ended[True] else 1


def _send(
    node: Node,
    sender: Sender,
    topic: str,
    show: Callable[[], None],
    expect: int,
    stop_after: int,
    seconds: float,
) -> None:
    publisher = node.create_publisher(UInt8MultiArray, topic, QOS)
    replies = f'{topic.removesuffix("model_updates")}model_update_replies'
    node.create_subscription(
        UInt8MultiArray, replies, lambda message: sender.receive(bytes(message.data)), QOS
    )
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and not _done(sender, expect, stop_after):
        while (data := sender.next_message(time.monotonic())) is not None:
            publisher.publish(UInt8MultiArray(data=array.array('B', data)))
        rclpy.spin_once(node, timeout_sec=TICK)
        show()


def _done(sender: Sender, expect: int, stop_after: int) -> bool:
    states = [reply.state for reply in sender.robots.values()]
    failed = sum(state in FAILED for state in states)
    ended = sum(state in FINAL for state in states)
    return bool(stop_after and failed >= stop_after) or bool(expect and ended >= expect)


def rows(sender: Sender) -> list[Reply]:
    """Return the last reply of each robot, by name."""
    return [sender.progress[name] for name in sorted(sender.progress)]


def table(replies: Iterable[Reply]) -> Table:
    """Return the table of ``replies``."""
    made = Table('robot', 'runs release', 'state', 'needs', 'reason')
    for reply in replies:
        needs = str(reply.needed) if reply.state == State.RECEIVING else ''
        state = reply.state.name.lower().replace('_', ' ')
        made.add_row(reply.robot, str(reply.release), state, needs, reply.reason)
    return made
