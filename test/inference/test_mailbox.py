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
"""The mailbox: the newest frame wins, no camera starves, the worker always wakes."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqz_perception.inference.mailbox import Mailbox

cameras = st.sampled_from(['front', 'rear', 'left'])


def test_the_newest_frame_replaces_one_that_waits() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for frame in (1, 2, 3):
        mailbox.put('front', frame)
    assert mailbox.take() == ('front', 3)
    assert mailbox.replaced('front') == 2
    assert mailbox.replaced('rear') == 0


def test_the_camera_that_waited_longest_is_served_first() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put('slow', 1)
    for frame in range(10):
        mailbox.put('fast', frame)
    mailbox.put('slow', 2)
    assert mailbox.take() == ('slow', 2)
    assert mailbox.take() == ('fast', 9)


@given(st.lists(st.tuples(cameras, st.booleans())))
def test_every_frame_is_taken_or_counted(steps: list[tuple[str, bool]]) -> None:
    mailbox: Mailbox[int] = Mailbox()
    put = {'front': 0, 'rear': 0, 'left': 0}
    taken = dict(put)
    waiting: dict[str, int] = {}
    for number, (camera, take) in enumerate(steps):
        mailbox.put(camera, number)
        put[camera] += 1
        waiting[camera] = number
        if take:
            result = mailbox.take()
            assert result is not None
            assert waiting.pop(result[0]) == result[1]
            taken[result[0]] += 1
    for camera in put:
        waits = camera in waiting
        assert put[camera] == taken[camera] + mailbox.replaced(camera) + waits


def test_take_waits_for_a_frame_and_ends_with_close() -> None:
    mailbox: Mailbox[int] = Mailbox()
    seen: list[object] = []

    def work() -> None:
        while (taken := mailbox.take()) is not None:
            seen.append(taken)
            done.release()

    done = threading.Semaphore(0)
    worker = threading.Thread(target=work)
    worker.start()
    mailbox.put('front', 7)
    assert done.acquire(timeout=10)
    mailbox.close()
    worker.join(timeout=10)
    assert not worker.is_alive()
    assert seen == [('front', 7)]


def test_a_closed_mailbox_lets_waiting_frames_go() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.put('front', 1)
    mailbox.close()
    assert mailbox.take() is None


@dataclass(frozen=True)
class Sender:
    """A camera that sends a frame each ``period`` seconds; the worker takes ``cost`` for one."""

    period: float
    cost: float


class Simulation:
    """
    A worker and its cameras in simulated time.

    It is the clock and the condition of a real mailbox: to wait is to let the time pass.
    """

    def __init__(
        self, senders: dict[str, Sender], seconds: float, wakes: dict[str, float] | None = None
    ) -> None:
        self.now, self.served = 0.0, Counter[str]()
        self._senders, self._end = senders, seconds
        self._events = [((wakes or {}).get(name, 0.0), name) for name in senders]
        heapq.heapify(self._events)
        self.mailbox: Mailbox[float] = Mailbox(lambda: self.now, self)  # type: ignore[arg-type]
        while (taken := self.mailbox.take()) is not None:
            name = taken[0]
            self.served[name] += 1
            self.pass_time(senders[name].cost)

    def share(self, name: str) -> float:
        """Return the part of the camera's frames that was served."""
        return self.served[name] * self._senders[name].period / self._end

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            self._next_event()
        self.now = until
        if self.now > self._end:
            self.mailbox.close()

    def wait(self, timeout: float | None) -> None:
        """Sleep, as the condition would, until a frame comes or the time is over."""
        if timeout is not None and self.now + timeout < self._events[0][0]:
            self.now += timeout
        else:
            self._next_event()
        if self.now > self._end:
            self.mailbox.close()

    def _next_event(self) -> None:
        self.now, name = heapq.heappop(self._events)
        heapq.heappush(self._events, (self.now + self._senders[name].period, name))
        self.mailbox.put(name, self.now)

    def notify(self) -> None: ...

    def notify_all(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: Any) -> None: ...


SECONDS = 40.0
STEADY = Sender(period=0.1, cost=0.01)
sender = st.builds(Sender, st.floats(0.05, 0.5), st.floats(0.001, 2.0))


@pytest.mark.parametrize('cost', [0.05, 0.3, 1.0, 5.0])
def test_a_camera_with_expensive_frames_leaves_half_the_time_to_another(cost: float) -> None:
    """Served in turn alone, the steady camera would have one frame for each expensive one."""
    run = Simulation({'steady': STEADY, 'hostile': Sender(0.05, cost)}, SECONDS)
    assert run.share('steady') > (0.45 if cost > 0.1 else 0.95)
    assert run.served['hostile'] * cost > 0.35 * SECONDS  # nor is the other shut out


@settings(max_examples=25, deadline=None)
@given(st.lists(sender, max_size=4))
def test_every_camera_has_its_part_of_the_time(others: list[Sender]) -> None:
    cameras = {'steady': STEADY, **{str(number): each for number, each in enumerate(others)}}
    run = Simulation(cameras, SECONDS)
    assert run.share('steady') > 0.75 / len(cameras)
    for name, each in cameras.items():
        alone = SECONDS / max(each.period, each.cost)
        assert run.served[name] > 0.4 * alone / len(cameras) - 2, name


@settings(max_examples=25, deadline=None)
@given(sender)
def test_a_camera_alone_never_rests(only: Sender) -> None:
    run = Simulation({'only': only}, SECONDS)
    assert run.served['only'] >= 0.95 * SECONDS / max(only.period, only.cost) - 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.05, 0.5), min_size=2, max_size=4), st.floats(0.1, 0.9))
def test_cameras_that_leave_each_other_time_never_rest(periods: list[float], load: float) -> None:
    cost = load * min(periods) / len(periods)
    cameras = {str(number): Sender(period, cost) for number, period in enumerate(periods)}
    run = Simulation(cameras, SECONDS)
    assert all(run.share(name) > 0.9 for name in cameras)


def test_a_camera_that_wakes_has_saved_up_nothing() -> None:
    busy = Sender(period=0.05, cost=0.2)
    run = Simulation({'early': busy, 'late': busy}, 2 * SECONDS, {'late': SECONDS})
    assert run.served['early'] == pytest.approx(1.5 * SECONDS / 0.2, rel=0.1)
    assert run.served['late'] == pytest.approx(0.5 * SECONDS / 0.2, rel=0.1)
