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
"""A node ends in silence and with exit code 0, whenever a signal comes."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from ros_support import Client, Process
from sqz_perception.nodes import runner
from sqz_perception.nodes.boundary import BoundedExecutor

INT, TERM = signal.SIGINT, signal.SIGTERM


def ended_in_silence(process: Process, signals: tuple[signal.Signals, ...]) -> bool:
    for number in signals[:-1]:
        process.send(number)
        time.sleep(0.05)
    code = process.stop(signals[-1])
    loud = [word for word in ('rror', 'Traceback', 'Exception') if word in process.output]
    assert (code, loud) == (0, []), process.output
    return True


@pytest.mark.parametrize(
    ('after', 'signals'),
    [
        (0.0, (TERM,)),
        (0.1, (INT,)),
        (0.2, (TERM, TERM)),
        (0.3, (INT, TERM)),
        (0.4, (TERM,)),
        (0.6, (INT, INT)),
        (0.8, (TERM,)),
        (1.2, (TERM, INT)),
    ],
)
def test_a_signal_during_the_start(
    start: Any, models: Any, client: Client, after: float, signals: tuple[signal.Signals, ...]
) -> None:
    process = start('classifier_node', model=models['one'])
    client.until(lambda: 'rclpy' in process.libraries(), 'its imports to begin')
    time.sleep(after)
    assert ended_in_silence(process, signals)


@pytest.mark.parametrize('line', ['loaded tiny', 'classifying'])
def test_a_signal_as_soon_as_it_works(start: Any, models: Any, line: str) -> None:
    process = start('classifier_node', model=models['one'])
    process.wait_for(line)
    assert ended_in_silence(process, (TERM, INT))


# In this process.


class Small(Node):
    """A node whose timer does what a test wants."""

    def __init__(self, act: Any, **methods: Any) -> None:
        super().__init__('small')
        self.__dict__.update(methods)
        self.create_timer(0.01, act)


def end() -> None:
    raise ExternalShutdownException


def fail() -> None:
    raise SystemExit(1)


def nothing() -> None:
    pass


def refuse() -> bool:
    raise MemoryError('no room')


@pytest.mark.parametrize(
    ('act', 'methods', 'code'),
    [
        (end, {}, 0),
        (fail, {}, 1),
        (end, {'start': lambda: True}, 0),
        (nothing, {'start': lambda: False}, 1),
        (nothing, {'start': refuse}, 1),
        (end, {'stop': refuse}, 0),
    ],
)
def test_the_exit_code(
    domain: int, monkeypatch: pytest.MonkeyPatch, act: Any, methods: Any, code: int
) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
    monkeypatch.setattr(
        runner, 'END_WITHIN', 600.0
    )  # else it ends this process where that is slow
    handlers = [signal.getsignal(number) for number in (INT, TERM)]
    try:
        assert runner.run(lambda: Small(act, **methods), lambda _: BoundedExecutor(), []) == code
        assert not rclpy.ok()
    finally:
        for number, handler in zip((INT, TERM), handlers, strict=True):
            signal.signal(number, handler)
