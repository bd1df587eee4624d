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
"""What the diagnostics make of a camera's counters; the worst cause speaks."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st

from sqz_perception.nodes.camera_report import CameraReporter, CameraView
from sqz_perception.nodes.statistics import WINDOW, CameraStatistics, percentile

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'


def camera(
    received: int = 30,
    classified: int = 30,
    ages: tuple[float, ...] = (),
    dropped: tuple[str, ...] = (),
    replaced: int = 0,
    publishers: tuple[str, ...] = (IMAGE,),
    **view: Any,
) -> CameraView:
    statistics = CameraStatistics()
    for _ in range(received):
        statistics.on_received()
    for _ in range(classified):
        statistics.on_classified(own_cost=0.5, inference=3.0)
    for age in ages or (0.008,) * classified:
        statistics.on_age(age, stale_after=0.5)
    for kind in dropped:
        statistics.on_dropped(kind)
    known = {'transport': 'raw', 'qos_mismatch': None, 'silent_after': 2.0, **view}
    return CameraView(
        topic='/image',
        statistics=statistics,
        replaced=replaced,
        publishers=Counter(publishers),
        **known,
    )


def report(view: CameraView, seconds: float = 1.0) -> tuple[DiagnosticStatus, dict[str, str]]:
    status = CameraReporter('').report(view, seconds)
    return status, {pair.key: pair.value for pair in status.values}


def silenced(view: CameraView, seconds: float = 3.0) -> CameraView:
    """Let the last frame, or the start, be ``seconds`` ago."""
    statistics = view.statistics
    statistics.started -= seconds
    statistics._arrivals = deque((t - seconds for t in statistics._arrivals), maxlen=WINDOW)
    return view


def with_gaps(view: CameraView, gap: float) -> CameraView:
    """Let the frames have come ``gap`` seconds after each other."""
    arrivals = view.statistics._arrivals
    last = len(arrivals) - 1
    view.statistics._arrivals = deque(
        (t - gap * (last - number) for number, t in enumerate(arrivals)), maxlen=WINDOW
    )
    return view


def test_a_camera_that_is_well() -> None:
    status, values = report(camera(received=60, classified=60), seconds=2.0)
    assert (status.level, status.message) == (DiagnosticStatus.OK, '30.0 Hz')
    assert values['rate_hz'] == '30.0'
    assert (values['latency_p50_ms'], values['latency_p99_ms']) == ('8.00', '8.00')
    assert (values['inference_p50_ms'], values['own_cost_p99_ms']) == ('3.00', '0.50')


STOPPED = 'the camera stopped 3 s ago: did its driver die or hang?'
FUTURE = 'stamps lie in the future: is use_sim_time the same on both sides?'
PAST = 'stamps lie far in the past: is use_sim_time the same on both sides?'
CLOCK = 'no /clock, but use_sim_time is true'
LOST = 'no frames for 3 s although /image has'


@pytest.mark.parametrize(
    ('make', 'level', 'message'),
    [
        (lambda: camera(classified=20, replaced=10), 'WARN', 'slower than the camera: 10 of 30'),
        (lambda: camera(ages=(0.1, 0.6, 2.0)), 'WARN', '2 of 30 frames were old'),
        (lambda: camera(ages=(3600.0, 0.1)), 'WARN', PAST),
        (lambda: camera(ages=(1.8e9,)), 'WARN', PAST),
        (lambda: camera(ages=(-3600.0, 0.1)), 'WARN', FUTURE),
        (lambda: camera(ages=(-0.6,)), 'WARN', FUTURE),
        (lambda: camera(ages=(-0.01,)), 'OK', '30.0 Hz'),  # clocks are never exactly the same
        (lambda: camera(dropped=('corrupt', 'empty', 'empty')), 'WARN', 'corrupt 1, empty 2'),
        (lambda: camera(clock=CLOCK), 'WARN', CLOCK),
        # Silence: the transport is blamed only where frames can have been lost.
        (lambda: silenced(camera(0, 0)), 'ERROR', f'{LOST} 1 publisher; use config/fastdds.xml'),
        (lambda: silenced(camera(0, 0, publishers=(IMAGE,) * 2)), 'ERROR', f'{LOST} 2 publishers'),
        (lambda: silenced(with_gaps(camera(30), 3.0)), 'ERROR', f'{LOST} 1 publisher; use config'),
        (lambda: silenced(camera(1, 1)), 'ERROR', f'{LOST} 1 publisher'),
        (
            lambda: silenced(camera(0, 0, transport='compressed', publishers=(COMPRESSED,))),
            'ERROR',
            f'{LOST} 1 publisher; check the driver and the network',
        ),
        (lambda: silenced(camera()), 'ERROR', STOPPED),
        (lambda: silenced(camera(publishers=())), 'ERROR', STOPPED),
        (lambda: silenced(camera(1, 1, publishers=())), 'ERROR', STOPPED),
        (lambda: silenced(camera(0, 0, publishers=())), 'ERROR', 'nobody publishes /image'),
        (lambda: silenced(camera(enabled=False)), 'OK', 'disabled by ~/enable'),
        (lambda: silenced(camera(clock=CLOCK)), 'WARN', CLOCK),
        (
            lambda: silenced(camera(0, 0, qos_mismatch='reliability')),
            'ERROR',
            'offers another reliability',
        ),
        # The type is checked before anything else is advised.
        (
            lambda: silenced(camera(0, 0, publishers=(COMPRESSED,))),
            'ERROR',
            '/image is a sensor_msgs/CompressedImage topic: set transport to compressed',
        ),
        (
            lambda: silenced(camera(0, 0, transport='compressed', publishers=(IMAGE,))),
            'ERROR',
            '/image is a sensor_msgs/Image topic: set transport to raw',
        ),
        (
            lambda: silenced(camera(0, 0, publishers=('std_msgs/msg/String',))),
            'ERROR',
            '/image is a std_msgs/String topic: remap image to one of sensor_msgs/Image',
        ),
        (
            lambda: silenced(camera(0, 0, publishers=(COMPRESSED, IMAGE))),
            'ERROR',
            f'{LOST} 1 publisher;',
        ),
        # The worst is reported: dropped frames explain more than skipped ones.
        (lambda: camera(dropped=('empty',), replaced=10, ages=(3.0,)), 'WARN', 'empty 1'),
    ],
)
def test_what_is_wrong_is_reported(
    make: Callable[[], CameraView], level: str, message: str
) -> None:
    status, _ = report(make())
    assert status.level == getattr(DiagnosticStatus, level)
    assert message in status.message


def test_a_mismatch_with_one_publisher_is_no_trouble_while_frames_come() -> None:
    status, _ = report(camera(qos_mismatch='reliability'))
    assert status.level == DiagnosticStatus.OK


def test_each_report_covers_the_time_since_the_last() -> None:
    reporter = CameraReporter('')
    view = camera(dropped=('empty',))
    assert reporter.report(view, 1.0).level == DiagnosticStatus.WARN
    view.statistics.on_received()
    second = reporter.report(view, 1.0)
    values = {pair.key: pair.value for pair in second.values}
    assert second.level == DiagnosticStatus.OK
    assert (values['rate_hz'], values['camera_rate_hz']) == ('0.0', '1.0')
    assert (values['dropped'], values['received']) == ('1', '31')  # totals stay


def test_ages_before_zero_stay_out_of_the_percentiles() -> None:
    _, values = report(camera(ages=(-3600.0, -0.001, 0.02)))
    assert (values['latency_p50_ms'], values['latency_p99_ms']) == ('20.00', '20.00')
    assert (values['future'], values['stale']) == ('1', '0')
    _, values = report(camera(ages=(-3600.0,)))
    assert 'latency_p50_ms' not in values


@given(st.lists(st.floats(-1e12, 1e12)), st.floats(0.001, 3600.0))
def test_every_age_is_counted_once(ages: list[float], stale_after: float) -> None:
    statistics = CameraStatistics()
    for age in ages:
        statistics.on_age(age, stale_after)
    assert statistics.future == sum(age < -stale_after for age in ages)
    assert statistics.stale == sum(age > stale_after for age in ages)
    assert statistics.long_ago <= statistics.stale
    assert all(value >= 0 for value in statistics.percentiles().values())


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(v) for v in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99)) == (50.0, 99.0)
    assert percentile([7.0], 99) == 7.0
