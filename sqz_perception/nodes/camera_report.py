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
"""What /diagnostics reports of a camera: the worst cause, with its remedy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus

from sqz_perception.nodes.diagnostics import camera_task, status
from sqz_perception.nodes.statistics import CameraStatistics

SKIPPED_SHARE = 0.1  # of the frames: above it the model is called too slow for the camera
TRANSPORTS = {
    'raw': 'sensor_msgs/msg/Image',
    'compressed': 'sensor_msgs/msg/CompressedImage',
}  # the message type of each value of the parameter transport


@dataclass
class CameraView:
    """What is known of a camera at one tick, and of the tick before."""

    topic: str
    transport: str
    statistics: CameraStatistics
    replaced: int  # frames so far that a newer one replaced before the worker took them
    publishers: Counter[str]  # of the topic, by their message type
    qos_mismatch: str | None  # the policy on which a publisher and this subscription disagree
    silent_after: float  # seconds
    enabled: bool = True
    clock: str | None = None  # what is wrong with the simulated time

    @property
    def matching(self) -> int:
        """Return the publishers that publish what is subscribed to."""
        return self.publishers[TRANSPORTS[self.transport]]


@dataclass
class _Counts:
    received: int = 0
    classified: int = 0
    stale: int = 0
    long_ago: int = 0
    future: int = 0
    replaced: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class CameraReporter:
    """Turns a camera's counters into one status a tick; remembers the last for the rates."""

    def __init__(self, name: str) -> None:
        self._task = camera_task(name)
        self._before = _Counts()

    def report(self, view: CameraView, seconds: float) -> DiagnosticStatus:
        """Return the status for the ``seconds`` since the last report."""
        now = _counts(view)
        past, self._before = self._before, now
        fresh = _Counts(
            now.received - past.received,
            now.classified - past.classified,
            now.stale - past.stale,
            now.long_ago - past.long_ago,
            now.future - past.future,
            now.replaced - past.replaced,
            now.dropped - past.dropped,
        )
        level, message = _judge(view, fresh, seconds)
        values = {
            'topic': view.topic,
            'publishers': view.publishers.total(),
            'rate_hz': f'{fresh.classified / seconds:.1f}',
            'camera_rate_hz': f'{fresh.received / seconds:.1f}',
            **{key: f'{value:.2f}' for key, value in view.statistics.percentiles().items()},
            'received': now.received,
            'classified': now.classified,
            'skipped': now.replaced,
            'stale': now.stale,
            'future': now.future,
            'dropped': now.dropped.total(),
            **{f'dropped_{kind}': count for kind, count in sorted(now.dropped.items())},
        }
        return status(level, self._task, message, values)


def _counts(view: CameraView) -> _Counts:
    seen = view.statistics
    return _Counts(
        seen.received,
        seen.classified,
        seen.stale,
        seen.long_ago,
        seen.future,
        view.replaced,
        Counter(seen.dropped),
    )


def _judge(view: CameraView, fresh: _Counts, seconds: float) -> tuple[bytes, str]:
    if not view.enabled:
        return DiagnosticStatus.OK, 'disabled by ~/enable'
    if view.clock:
        return DiagnosticStatus.WARN, view.clock
    silence = view.statistics.silence()
    if silence > view.silent_after:
        return DiagnosticStatus.ERROR, _why_silent(view, silence)
    warning = _warning(fresh)
    if warning:
        return DiagnosticStatus.WARN, warning
    return DiagnosticStatus.OK, f'{fresh.classified / seconds:.1f} Hz'


def _warning(fresh: _Counts) -> str | None:
    if fresh.dropped:
        kinds = ', '.join(f'{kind} {count}' for kind, count in sorted(fresh.dropped.items()))
        return f'unusable frames dropped: {kinds}; see the log'
    for count, where in ((fresh.future, 'in the future'), (fresh.long_ago, 'far in the past')):
        if count:
            return (
                f'stamps lie {where}: is use_sim_time the same on both sides? Are the clocks of '
                'the machines synchronised?'
            )
    if fresh.stale:
        return (
            f'{fresh.stale} of {fresh.classified} frames were old before they were classified; '
            'synchronise the clocks of the machines, or use a faster network'
        )
    if fresh.replaced > SKIPPED_SHARE * max(fresh.received, 1):
        return (
            f'the model is slower than the camera: {fresh.replaced} of {fresh.received} frames '
            'were skipped; lower the rate of the camera, or give more threads'
        )
    return None


def _why_silent(view: CameraView, silence: float) -> str:
    if view.publishers and not view.matching:
        return _wrong_type(view)
    if view.qos_mismatch:
        return (
            f'no frames: a publisher of {view.topic} offers another {view.qos_mismatch} than is '
            'asked for; set the parameter reliability to best_effort'
        )
    # A killed driver counts as a publisher for some time; lost frames leave large gaps.
    arrived = view.statistics.received > 0
    if arrived and (not view.matching or view.statistics.regular(view.silent_after)):
        return f'the camera stopped {silence:.0f} s ago: did its driver die or hang?'
    if not view.matching:
        return f'nobody publishes {view.topic}: is the camera running, the topic remapped?'
    remedy = 'check the driver and the network'
    if view.transport == 'raw':  # only large messages get lost
        remedy = 'use config/fastdds.xml on both sides'
    s = 's' if view.matching > 1 else ''
    return (
        f'no frames for {silence:.0f} s although {view.topic} has {view.matching} publisher{s}; '
        f'{remedy}'
    )


def _wrong_type(view: CameraView) -> str:
    (found, _), *_ = view.publishers.most_common(1)
    claim = f'{view.topic} is a {found.replace("/msg/", "/")} topic'
    for transport, kind in TRANSPORTS.items():
        if found == kind:
            return f'{claim}: set transport to {transport}, and remap {topic_of(transport)}'
    wanted = TRANSPORTS[view.transport].replace('/msg/', '/')
    return f'{claim}: remap {topic_of(view.transport)} to one of {wanted}'


def topic_of(transport: str) -> str:
    """Return the topic of a camera, without its prefix, as it is before remapping."""
    return 'image/compressed' if transport == 'compressed' else 'image'
