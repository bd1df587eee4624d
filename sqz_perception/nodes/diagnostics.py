# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of each camera and of the model: the worst cause, with its remedy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node

from sqz_perception.inference.classifier import LoadedModel
from sqz_perception.nodes.statistics import CameraStatistics

SKIPPED_SHARE = 0.1  # of the frames: above it the model is called too slow for the camera


@dataclass
class CameraView:
    """What is known of a camera at one tick, and of the tick before."""

    topic: str
    statistics: CameraStatistics
    replaced: int  # frames so far that a newer one replaced before the worker took them
    publishers: int
    qos_mismatch: str | None  # the policy on which a publisher and this subscription disagree
    silent_after: float  # seconds
    enabled: bool = True


@dataclass
class _Counts:
    received: int = 0
    classified: int = 0
    stale: int = 0
    replaced: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class CameraReporter:
    """Turns a camera's counters into one status a tick; remembers the last for the rates."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = _Counts()

    def report(self, view: CameraView, seconds: float) -> DiagnosticStatus:
        """Return the status for the ``seconds`` since the last report."""
        now = _counts(view)
        past, self._before = self._before, now
        fresh = _Counts(
            now.received - past.received,
            now.classified - past.classified,
            now.stale - past.stale,
            now.replaced - past.replaced,
            now.dropped - past.dropped,
        )
        level, message = _judge(view, fresh, seconds)
        values = {
            'topic': view.topic,
            'publishers': view.publishers,
            'rate_hz': f'{fresh.classified / seconds:.1f}',
            'camera_rate_hz': f'{fresh.received / seconds:.1f}',
            **{key: f'{value:.2f}' for key, value in view.statistics.percentiles().items()},
            'received': now.received,
            'classified': now.classified,
            'skipped': now.replaced,
            'stale': now.stale,
            'dropped': sum(now.dropped.values()),
            **{f'dropped_{kind}': count for kind, count in sorted(now.dropped.items())},
        }
        return status(level, self._name, message, values)


def model_status(
    name: str, model: LoadedModel | None, swaps: int, trouble: str | None
) -> DiagnosticStatus:
    """Return the model's status; ``trouble`` is what the runtime last failed with, or None."""
    if model is None:
        return status(DiagnosticStatus.WARN, name, 'not configured: no model is loaded', {})
    values = {
        'model': model.name,
        'release': model.release,
        'identity': model.identity,
        'file': model.path,
        'runtime': model.backend.description,
        'why': model.why,
        'swaps': swaps,
    }
    if trouble:
        return status(DiagnosticStatus.ERROR, name, trouble, values)
    return status(DiagnosticStatus.OK, name, f'{model} on {model.backend.description}', values)


def full_name(node: Node) -> str:
    """Return the node's name with its namespace, as it stands before each of its statuses."""
    return node.get_fully_qualified_name().lstrip('/')


def status(level: bytes, name: str, message: str, values: dict[str, object]) -> DiagnosticStatus:
    """Return a status with ``values`` as its keys and values."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def _counts(view: CameraView) -> _Counts:
    seen = view.statistics
    return _Counts(
        seen.received, seen.classified, seen.stale, view.replaced, Counter(seen.dropped)
    )


def _judge(view: CameraView, fresh: _Counts, seconds: float) -> tuple[bytes, str]:
    if not view.enabled:
        return DiagnosticStatus.OK, 'disabled by ~/enable'
    silence = view.statistics.silence()
    if silence > view.silent_after:
        return DiagnosticStatus.ERROR, _why_silent(view, silence)
    if fresh.dropped:
        kinds = ', '.join(f'{kind} {count}' for kind, count in sorted(fresh.dropped.items()))
        return DiagnosticStatus.WARN, f'unusable frames dropped: {kinds}; see the log'
    if fresh.stale:
        return DiagnosticStatus.WARN, (
            f'{fresh.stale} of {fresh.classified} frames were old before they were classified; '
            'is the clock of the camera right, the network fast enough?'
        )
    if fresh.replaced > SKIPPED_SHARE * max(fresh.received, 1):
        return DiagnosticStatus.WARN, (
            f'the model is slower than the camera: {fresh.replaced} of {fresh.received} frames '
            'were skipped; lower the rate of the camera, or give more threads'
        )
    return DiagnosticStatus.OK, f'{fresh.classified / seconds:.1f} Hz'


def _why_silent(view: CameraView, silence: float) -> str:
    if view.qos_mismatch:
        return (
            f'no frames: a publisher of {view.topic} offers another {view.qos_mismatch} than is '
            'asked for; set the parameter reliability to best_effort'
        )
    if view.publishers == 0:
        return f'nobody publishes {view.topic}: is the camera running, the topic remapped?'
    return (
        f'silent for {silence:.0f} s although {view.publishers} publish {view.topic}; large '
        'frames get lost where config/fastdds.xml is not in use on both sides'
    )
