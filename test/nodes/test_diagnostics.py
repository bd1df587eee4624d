# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the diagnostics make of a camera's counters; the worst cause speaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from sqz_perception.nodes.diagnostics import CameraReporter, CameraView, model_status
from sqz_perception.nodes.statistics import CameraStatistics, percentile


def camera(
    received: int = 30,
    classified: int = 30,
    stale: int = 0,
    dropped: tuple[str, ...] = (),
    replaced: int = 0,
    **view: Any,
) -> CameraView:
    statistics = CameraStatistics()
    for _ in range(received):
        statistics.on_received()
    for _ in range(classified):
        statistics.on_classified(own_cost=0.5, inference=3.0, latency=8.0)
    for _ in range(stale):
        statistics.on_stale()
    for kind in dropped:
        statistics.on_dropped(kind)
    known = {'publishers': 1, 'qos_mismatch': None, 'silent_after': 2.0, **view}
    return CameraView(topic='/image', statistics=statistics, replaced=replaced, **known)


def report(view: CameraView, seconds: float = 1.0) -> tuple[DiagnosticStatus, dict[str, str]]:
    status = CameraReporter('classifier: camera').report(view, seconds)
    return status, {pair.key: pair.value for pair in status.values}


def silenced(view: CameraView, seconds: float) -> CameraView:
    view.statistics.started -= seconds
    if view.statistics.last_received is not None:
        view.statistics.last_received -= seconds
    return view


def test_a_camera_that_is_well() -> None:
    status, values = report(camera(received=60, classified=60), seconds=2.0)
    assert (status.level, status.message) == (DiagnosticStatus.OK, '30.0 Hz')
    assert values['rate_hz'] == '30.0'
    assert (values['latency_p50_ms'], values['latency_p99_ms']) == ('8.00', '8.00')
    assert (values['inference_p50_ms'], values['own_cost_p99_ms']) == ('3.00', '0.50')


@pytest.mark.parametrize(
    ('make', 'level', 'message'),
    [
        (lambda: camera(classified=20, replaced=10), 'WARN', 'slower than the camera: 10 of 30'),
        (lambda: camera(stale=7), 'WARN', '7 of 30 frames were old'),
        (lambda: camera(dropped=('corrupt', 'empty', 'empty')), 'WARN', 'corrupt 1, empty 2'),
        (lambda: silenced(camera(), 3), 'ERROR', 'silent for 3 s although 1 publish'),
        (lambda: silenced(camera(enabled=False), 3), 'OK', 'disabled by ~/enable'),
        (lambda: silenced(camera(publishers=0), 3), 'ERROR', 'nobody publishes /image'),
        (
            lambda: silenced(camera(qos_mismatch='reliability'), 3),
            'ERROR',
            'offers another reliability',
        ),
        # The worst speaks: frames that are dropped explain more than frames that are skipped.
        (lambda: camera(dropped=('empty',), replaced=10, stale=3), 'WARN', 'empty 1'),
    ],
)
def test_what_is_wrong_is_said(make: Callable[[], CameraView], level: str, message: str) -> None:
    status, _ = report(make())
    assert status.level == getattr(DiagnosticStatus, level)
    assert message in status.message


def test_a_mismatch_with_one_publisher_is_no_trouble_while_frames_come() -> None:
    status, _ = report(camera(qos_mismatch='reliability'))
    assert status.level == DiagnosticStatus.OK


def test_each_report_covers_the_time_since_the_last() -> None:
    reporter = CameraReporter('classifier: camera')
    view = camera(dropped=('empty',))
    assert reporter.report(view, 1.0).level == DiagnosticStatus.WARN
    view.statistics.on_received()
    second = reporter.report(view, 1.0)
    values = {pair.key: pair.value for pair in second.values}
    assert second.level == DiagnosticStatus.OK
    assert (values['rate_hz'], values['camera_rate_hz']) == ('0.0', '1.0')
    assert (values['dropped'], values['received']) == ('1', '31')  # totals stay


def test_a_node_without_a_model() -> None:
    status = model_status('classifier: model', None, 0, None)
    assert status.level == DiagnosticStatus.WARN
    assert 'not configured' in status.message


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(v) for v in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99)) == (50.0, 99.0)
    assert percentile([7.0], 99) == 7.0
