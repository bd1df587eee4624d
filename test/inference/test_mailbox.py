# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The mailbox: the newest frame wins, no camera starves, the worker always wakes."""

from __future__ import annotations

import threading

from hypothesis import given
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
