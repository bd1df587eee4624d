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
"""What /diagnostics reports of a real classifier node, and what that never decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from ros_support import Client, Process, jpeg, picture
from sqz_perception.errors import BackendFailed
from sqz_perception.inference.classifier import LoadedModel
from sqz_perception.nodes import worker
from sqz_perception.nodes.camera import Camera
from sqz_perception.nodes.classifier_node import ClassifierNode

CAMERA, MODEL = 'classifier: camera', 'classifier: model'


def diagnosis(client: Client, name: str, matches: Callable[[Any], bool]) -> Any:
    """Wait for a status called ``name`` that ``matches``; return it with its values as a dict."""
    arrays = client.collect(DiagnosticArray, '/diagnostics')

    def found() -> Any:
        for array in arrays:
            for status in array.status:
                if status.name == name and matches(status):
                    return status, {pair.key: pair.value for pair in status.values}
        return None

    return client.until(found, f'a fitting status of {name}')


def value_is(key: str, value: str) -> Callable[[Any], bool]:
    return lambda status: {pair.key: pair.value for pair in status.values}.get(key) == value


def says(text: str) -> Callable[[Any], bool]:
    return lambda status: text in status.message


def bad_frames(client: Client) -> list[tuple[str, Image]]:
    def changed(**fields: Any) -> Image:
        frame = picture(client.stamp())
        for name, value in fields.items():
            setattr(frame, name, value)
        return frame

    return [
        ('truncated', changed(height=49)),
        ('truncated', changed(step=100)),
        ('oversized', changed(height=1_000_000, width=1_000_000)),
        ('empty', changed(width=0)),
        ('unknown_encoding', changed(encoding='smell8')),
    ]


def test_bad_frames_are_counted_and_the_node_goes_on(classifier: Process, client: Client) -> None:
    camera, received = client.camera()
    kinds = []
    for kind, frame in bad_frames(client):
        kinds.append(kind)
        camera.publish(frame)
        # One at a time: an older frame that still waits would be replaced, not looked at.
        diagnosis(client, CAMERA, value_is('dropped', str(len(kinds))))
    camera.publish(picture(client.stamp()))
    client.until(lambda: received, 'a classification after the bad frames')
    _, values = diagnosis(client, CAMERA, lambda s: True)
    assert {kind: values[f'dropped_{kind}'] for kind in kinds} == {
        'truncated': '2',
        'oversized': '1',
        'empty': '1',
        'unknown_encoding': '1',
    }
    assert classifier.output.count('frame dropped') == 1  # throttled
    assert 'Traceback' not in classifier.output

    assert client.set_parameter('classifier', 'max_pixels', 48 * 48 - 1).successful
    camera.publish(picture(client.stamp()))
    diagnosis(client, CAMERA, value_is('dropped_oversized', '2'))


def test_a_corrupt_jpeg_is_dropped(start: Any, models: Any, client: Client) -> None:
    start('classifier_node', model=models['one'], transport='compressed')
    camera, _ = client.camera('image/compressed', frame=jpeg())
    frame = CompressedImage(format='jpeg')
    frame.data.frombytes(b'\xff\xd8\xff\xe0 this is no picture')
    camera.publish(frame)
    status, values = diagnosis(client, CAMERA, says('unusable frames'))
    assert status.level == DiagnosticStatus.WARN
    assert values['dropped_corrupt'] == '1'


def test_a_camera_that_nobody_publishes_and_that_stops(
    start: Any, models: Any, client: Client
) -> None:
    process = start('classifier_node', model=models['one'], silent_after=0.5)
    status, values = diagnosis(client, CAMERA, says('nobody publishes /image'))
    assert status.level == DiagnosticStatus.ERROR
    assert status.hardware_id
    assert values['publishers'] == '0'
    assert 'camera: nobody publishes /image' in process.output

    camera, received = client.camera()
    client.until(lambda: camera.publish(picture(client.stamp())) or len(received) > 20, 'frames')
    status, values = diagnosis(client, CAMERA, says('the camera stopped'))
    assert status.level == DiagnosticStatus.ERROR
    assert 'did its driver die or hang?' in status.message
    assert values['publishers'] == '1'  # as after a kill: it takes DDS a while to notice


def test_topics_of_another_type(start: Any, models: Any, client: Client) -> None:
    kinds = {'jpeg': CompressedImage, 'time': Time}
    for name, kind in kinds.items():
        client.node.create_publisher(kind, f'/cam/{name}', 5)
    remaps = [f'{name}/image:=/cam/{name}' for name in kinds]
    start('classifier_node', remaps, model=models['one'], cameras=[*kinds], silent_after=0.2)
    for name, message in (
        ('jpeg', '/cam/jpeg is a sensor_msgs/CompressedImage topic: set transport to compressed'),
        ('time', '/cam/time is a builtin_interfaces/Time topic: remap image to'),
    ):
        status, _ = diagnosis(client, f'{CAMERA} {name}', says(message))
        assert status.level == DiagnosticStatus.ERROR


def test_a_qos_mismatch_is_reported_with_its_remedy(
    start: Any, models: Any, client: Client
) -> None:
    process = start(
        'classifier_node', model=models['one'], reliability='reliable', silent_after=0.2
    )
    client.node.create_publisher(Image, 'image', qos_profile_sensor_data)
    status, _ = diagnosis(client, CAMERA, says('offers another reliability'))
    assert 'set the parameter reliability to best_effort' in status.message
    assert 'offers another reliability' in process.output


def test_stamps_never_decide_whether_a_frame_counts(classifier: Process, client: Client) -> None:
    camera, received = client.camera()
    now = client.stamp().sec
    for stamp, message in (
        (Time(sec=-1, nanosec=5), 'stamps lie far in the past: is use_sim_time the same on both'),
        (Time(sec=100), 'stamps lie far in the past'),
        (Time(sec=now - 5), '1 of 1 frames were old'),
        (
            Time(sec=now + 3600),
            'stamps lie in the future: is use_sim_time the same on both sides?',
        ),
        (Time(sec=2**31 - 1, nanosec=2**32 - 1), 'stamps lie in the future'),
    ):
        count = len(received)
        camera.publish(picture(stamp))
        client.until(lambda count=count: len(received) > count, 'a classification')
        assert received[-1].header.stamp == stamp
        status, values = diagnosis(client, CAMERA, says(message))
        assert status.level == DiagnosticStatus.WARN
    assert (values['dropped'], values['stale'], values['future']) == ('0', '3', '2')
    assert float(values['latency_p50_ms']) >= 0
    assert 'please report' not in classifier.output


def test_a_simulated_time_without_a_clock(start: Any, models: Any, client: Client) -> None:
    process = start('classifier_node', model=models['one'], use_sim_time=True)
    camera, received = client.camera()
    status, _ = diagnosis(client, CAMERA, says('no /clock, but use_sim_time is true'))
    assert status.level == DiagnosticStatus.WARN
    camera.publish(picture(client.stamp()))
    client.until(lambda: received, 'a classification')
    assert process.output.count('no /clock, but') == 1
    assert client.set_parameter('classifier', 'use_sim_time', False).successful
    diagnosis(client, CAMERA, lambda s: 'clock' not in s.message)


def test_an_inactive_node_keeps_its_statuses(start: Any, models: Any, client: Client) -> None:
    process = start('classifier_node', model=models['one'], cameras=['front', 'rear'])
    process.wait_for('classifying')
    for name, value in (('period', 0.1), ('use_fqn', True)):
        assert client.set_parameter('classifier', f'diagnostic_updater.{name}', value).successful
    arrays = client.collect(DiagnosticArray, '/diagnostics')
    client.until(lambda: len(arrays) >= 30, 'thirty reports: at 1 Hz they would come too late')
    for transition, message in (
        (Transition.TRANSITION_DEACTIVATE, 'inactive'),
        (Transition.TRANSITION_CLEANUP, 'unconfigured'),
    ):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert client.call(ChangeState, 'classifier/change_state', request).success
        for name in ('front', 'rear'):
            status, _ = diagnosis(client, f'/classifier: camera {name}', says(message))
            assert status.level == DiagnosticStatus.OK


# In this process, where a part can be made to fail.


@contextmanager
def inside(domain: int, **parameters: Any) -> Iterator[ClassifierNode]:
    """Give an active node of this process."""
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    given = [Parameter(name, value=value) for name, value in parameters.items()]
    node = ClassifierNode(context=context, parameter_overrides=given)
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        yield node
    finally:
        node.stop()
        node.destroy_node()
        context.try_shutdown()


def test_a_classified_frame_counts_whatever_follows(
    domain: int, models: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(Camera, 'watched', True)
    monkeypatch.setattr(worker, 'annotate', lambda *_: 1 / 0)
    with inside(domain, model=str(models['one'])) as node:
        (camera,) = node._cameras
        node._on_frame(camera, picture(Time(sec=-5)))
        deadline = time.monotonic() + 20
        while not camera.statistics.classified and time.monotonic() < deadline:
            time.sleep(0.01)
        node.stop()  # the worker has finished with the frame
        assert (camera.statistics.classified, dict(camera.statistics.dropped)) == (1, {})
    assert 'after the result: ZeroDivisionError' in capfd.readouterr().err


def test_a_runtime_that_fails_is_an_error_of_the_model(
    domain: int, models: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classify(self: LoadedModel, picture: np.ndarray, *_: Any) -> list[Any]:
        if picture[0, 0, 0] == 0:
            raise BackendFailed('the results are not finite; use another model')
        return []

    monkeypatch.setattr(LoadedModel, 'classify', classify)
    arrays = client.collect(DiagnosticArray, '/diagnostics')
    with inside(domain, model=str(models['one'])) as node:
        client.until(lambda: node.count_subscribers('/diagnostics'), 'the subscription')
        (camera,) = node._cameras
        # A good frame after the bad one, as from another camera, does not hide the failure.
        seen = camera.statistics
        node._on_frame(camera, picture(client.stamp(), value=0))
        client.until(lambda: seen.dropped['backend'], 'the bad frame')
        node._on_frame(camera, picture(client.stamp(), value=9))
        client.until(lambda: seen.classified, 'the good frame')
        levels = []
        for number in (1, 2):
            node._report()
            client.until(lambda number=number: len(arrays) == number, 'a report')
            levels.append((arrays[-1].status[0].level, arrays[-1].status[0].message))
    assert levels[0] == (DiagnosticStatus.ERROR, 'the results are not finite; use another model')
    assert levels[1][0] == DiagnosticStatus.OK
