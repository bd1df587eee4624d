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
"""The classifier node as a robot sees it: another process, over DDS."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMsg
from rcl_interfaces.srv import GetParameters, ListParameters, SetParameters
from rclpy.qos import (
    DurabilityPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo, VisionInfo

from ros_support import Client, Process, jpeg, picture
from sqz_perception.nodes.classifier_parameters import PARAMETERS

LATCHED = QoSProfile(
    depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)


def classify_one(client: Client, topic: str = 'image', results: str = 'classification') -> Any:
    """Send one frame and return its classification."""
    camera, received = client.camera(topic, results)
    camera.publish(picture(client.stamp()))
    return client.until(lambda: received, 'a classification')[-1]


def test_a_frame_gives_a_classification(classifier: Process, client: Client) -> None:
    camera, received = client.camera()
    frame = picture(client.stamp(), frame_id='front_camera')
    camera.publish(frame)
    result = client.until(lambda: received, 'a classification')[0]
    assert result.header == frame.header
    scores = [hypothesis.score for hypothesis in result.results]
    assert result.results[0].class_id == 'bucket'
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-6)


def test_compressed_frames(start: Callable[..., Process], models: Any, client: Client) -> None:
    start('classifier_node', model=models['one'], transport='compressed')
    camera, received = client.camera('image/compressed', frame=jpeg())
    frame = jpeg()
    frame.header.stamp = client.stamp()
    camera.publish(frame)
    result = client.until(lambda: received, 'a classification')[0]
    assert result.header == frame.header
    assert result.results[0].class_id == 'bucket'


def test_cameras_share_one_model(start: Any, models: Any, client: Client) -> None:
    remaps = ['image:=/camera/image_raw', 'rear/image:=rear/image_raw']
    process = start('classifier_node', remaps, model=models['one'], cameras=['front', 'rear'])
    for name, topic in (('rear', 'rear/image_raw'), ('front', 'front/image')):
        camera, received = client.camera(topic, f'{name}/classification')
        camera.publish(picture(client.stamp(), frame_id=name))
        client.until(received.copy, f'the classification of {name}')
        assert received[0].header.frame_id == name
    assert process.output.count('loaded tiny') == 1
    assert process.output.count('has no effect') == 1
    assert 'the remap of image to /camera/image_raw' in process.output


def test_update_and_rollback(classifier: Process, models: Any, client: Client) -> None:
    infos = client.collect(VisionInfo, 'vision_info', LATCHED)
    labels = client.collect(LabelInfo, 'label_info', LATCHED)
    assert classify_one(client).results[0].class_id == 'bucket'

    refused = client.call(Trigger, 'rollback_model')
    assert (refused.success, 'there is no earlier model' in refused.message) == (False, True)

    assert client.set_parameter('classifier', 'model', str(models['two'])).successful
    answer = client.call(Trigger, 'update_model')
    assert answer.success
    assert answer.message.startswith('tiny release 1 (')
    assert '-> tiny release 2 (' in answer.message
    assert classify_one(client).results[0].class_id == 'robot'

    answer = client.call(Trigger, 'rollback_model')
    assert answer.success
    assert '-> tiny release 1 (' in answer.message
    assert classify_one(client).results[0].class_id == 'bucket'

    client.until(lambda: len(infos) == 3 and len(labels) == 3, 'the models announced')
    assert [info.database_version for info in infos] == [1, 2, 3]
    assert [info.method for info in infos] == [f'tiny release {n}' for n in (1, 2, 1)]
    assert [c.class_name for c in labels[1].class_map] == ['robot', 'charger', 'dock', 'person']


@pytest.mark.parametrize('damage', ['missing', 'truncated', 'one bit', 'newer'])
def test_a_bad_model_leaves_the_running_one(
    classifier: Process, models: Any, client: Client, damage: str, tmp_path: Path
) -> None:
    data = bytearray(models['two'].read_bytes())
    path = tmp_path / 'bad.sqz'
    if damage == 'truncated':
        path.write_bytes(data[:500])
    elif damage == 'one bit':
        data[600] ^= 4
        path.write_bytes(data)
    elif damage == 'newer':
        data[8] = 9
        path.write_bytes(data)
    assert client.set_parameter('classifier', 'model', str(path)).successful
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert str(path) in answer.message
    assert 'still serving tiny release 1' in answer.message
    assert '\n' not in answer.message
    assert classify_one(client).results[0].class_id == 'bucket'


def test_no_frame_is_lost_while_the_model_changes(
    classifier: Process, models: Any, client: Client
) -> None:
    """Frames follow each other as fast as answers come, so none has reason to be replaced."""
    camera, received = client.camera()
    sent: list[Any] = []

    def send_one() -> None:
        stamp = client.stamp()
        camera.publish(picture(stamp))
        sent.append(stamp)
        client.until(lambda: len(received) == len(sent), f'the answer to frame {len(sent)}')

    during = []
    for name in ('two', 'one', 'two', 'one'):
        send_one()
        client.set_parameter('classifier', 'model', str(models[name]))
        before, answer = len(sent), client.begin(Trigger, 'update_model')
        while not answer.done():
            send_one()
        during.append(len(sent) - before)
        assert answer.result().success
        send_one()
    assert min(during) > 0  # frames did go on while the models were loaded
    assert [result.header.stamp for result in received] == sent
    winners = [result.results[0].class_id for result in received]
    assert winners[0] == 'bucket'
    assert [b for a, b in pairwise(winners) if a != b] == ['robot', 'bucket'] * 2


def test_parameters_that_change_live(classifier: Process, client: Client) -> None:
    assert client.set_parameter('classifier', 'top_k', 2).successful
    assert len(classify_one(client).results) == 2
    labels = client.collect(LabelInfo, 'label_info', LATCHED)
    client.until(lambda: labels, 'the labels')
    assert client.set_parameter('classifier', 'threshold', 0.9).successful
    assert [h.class_id for h in classify_one(client).results] == ['bucket']
    client.until(
        lambda: labels and labels[-1].threshold == pytest.approx(0.9), 'the new threshold'
    )
    late = client.collect(LabelInfo, 'label_info', LATCHED)
    client.until(lambda: late, 'the latched labels')
    assert late[0].threshold == pytest.approx(0.9)
    infos = client.collect(VisionInfo, 'vision_info', LATCHED)
    assert client.set_parameter('classifier', 'max_rate', 50).successful  # an integer
    classify_one(client)
    assert (len(labels), len(infos)) == (2, 1)  # only what changed is published again


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('threshold', 1.5, 'range'),
        ('top_k', 0, 'range'),
        ('top_k', 'many', 'type'),
        ('backend', 'onnxruntime', 'read when the node configures'),
        ('cameras', ['front'], 'read when the node configures'),
    ],
)
def test_a_refused_change_says_why(
    classifier: Process, client: Client, name: str, value: Any, reason: str
) -> None:
    answer = client.set_parameter('classifier', name, value)
    assert not answer.successful
    assert reason in answer.reason


def test_its_own_dump_is_accepted(classifier: Process, client: Client) -> None:
    names = client.call(ListParameters, 'classifier/list_parameters').result.names
    request = GetParameters.Request(names=names)
    dump = client.call(GetParameters, 'classifier/get_parameters', request).values
    assert len(names) == len(dump) > len(PARAMETERS)
    load = SetParameters.Request(
        parameters=[
            ParameterMsg(name=name, value=value) for name, value in zip(names, dump, strict=True)
        ]
    )
    results = client.call(SetParameters, 'classifier/set_parameters', load).results
    assert [result.reason for result in results if not result.successful] == []


def test_a_params_file_without_effect_is_named(start: Any, models: Any, tmp_path: Path) -> None:
    path = tmp_path / 'robot.yaml'
    path.write_text('clasifier: {ros__parameters: {top_k: 3}}')
    process = start('classifier_node', params=path, model=models['one'], treshold=0.5, max_rate=10)
    process.wait_for('classifying')
    assert f'{path} has no section for /classifier (found: clasifier)' in process.output
    assert 'unknown parameters are ignored: treshold (did you mean threshold?)' in process.output


def test_max_rate(start: Any, models: Any, client: Client) -> None:
    start('classifier_node', model=models['one'], max_rate=0.01)
    camera, received = client.camera()
    for _ in range(5):  # the first frame of all was classified to see that the camera is there
        camera.publish(picture(client.stamp()))
        client.spin_for(0.1)
    assert received == []


def test_class_id_may_be_a_number(classifier: Process, client: Client) -> None:
    labels = client.collect(LabelInfo, 'label_info', LATCHED)
    assert client.set_parameter('classifier', 'class_id', 'number').successful
    result = classify_one(client).results[0]
    names = {str(c.class_id): c.class_name for c in client.until(lambda: labels, '')[0].class_map}
    assert (result.class_id, names[result.class_id]) == ('0', 'bucket')
    assert not client.set_parameter('classifier', 'class_id', 'name').successful


def test_enable_stops_the_work_and_not_the_node(classifier: Process, client: Client) -> None:
    camera, received = client.camera()
    assert client.call(SetBool, 'classifier/enable', SetBool.Request(data=False)).success
    camera.publish(picture(client.stamp()))
    client.spin_for(0.5)
    assert received == []
    assert client.call(SetBool, 'classifier/enable', SetBool.Request(data=True)).success
    camera.publish(picture(client.stamp()))
    client.until(lambda: received, 'a classification once enabled')


def test_the_annotated_picture(classifier: Process, client: Client) -> None:
    pictures = client.collect(Image, 'classification/image', qos_profile_sensor_data)
    camera, _ = client.camera()
    deadline = time.monotonic() + 20
    while (
        'front' not in {p.header.frame_id for p in pictures} and time.monotonic() < deadline
    ):  # best effort: the first may be early
        camera.publish(picture(client.stamp(), side=300, frame_id='front'))
        client.spin_for(0.1)
    drawn = next(p for p in pictures if p.header.frame_id == 'front')
    assert (drawn.height, drawn.width, drawn.encoding) == (300, 300, 'bgr8')
    assert len(set(drawn.data)) > 10  # no longer the plain grey that was sent


def test_lifecycle(start: Any, models: Any, client: Client) -> None:
    start('classifier_node', model=models['one'], autostart=False)

    def change(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return client.call(ChangeState, 'classifier/change_state', request).success

    def state() -> int:
        return client.call(GetState, 'classifier/get_state').current_state.id

    assert state() == State.PRIMARY_STATE_UNCONFIGURED
    assert 'not configured' in client.call(Trigger, 'update_model').message
    assert client.set_parameter('classifier', 'backend', 'onnxruntime').successful
    assert not client.set_parameter('classifier', 'backend', 'abacus').successful
    for _ in range(2):  # all the way round leaves nothing behind
        assert change(Transition.TRANSITION_CONFIGURE)
        assert client.node.count_subscribers('image') == 0
        assert change(Transition.TRANSITION_ACTIVATE)
        assert classify_one(client).results[0].class_id == 'bucket'
        assert change(Transition.TRANSITION_DEACTIVATE)
        client.until(lambda: client.node.count_subscribers('image') == 0, 'the camera let go')
        assert change(Transition.TRANSITION_CLEANUP)
    assert client.set_parameter('classifier', 'model', '/nowhere.sqz').successful
    assert not change(Transition.TRANSITION_CONFIGURE)
    assert state() == State.PRIMARY_STATE_UNCONFIGURED


def test_a_configure_that_fails_leaves_nothing_behind(
    start: Any, models: Any, client: Client
) -> None:
    names = ['front', 'rear-left']  # the second is no name in ROS
    start('classifier_node', model=models['one'], autostart=False, cameras=names)
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    assert not client.call(ChangeState, 'classifier/change_state', request).success
    client.spin_for(0.5)  # until what was advertised has been taken back
    assert client.node.count_publishers('front/classification') == 0


@pytest.mark.parametrize(
    'remap', ['__ns:=no good', '__node:=no-good', 'image:=no good', 'nonsense']
)
def test_arguments_that_ros_refuses(start: Any, models: Any, remap: str) -> None:
    process = start('classifier_node', remaps=[remap], model=models['one'])
    assert process.wait() == 1
    assert 'Traceback' not in process.output


@pytest.mark.parametrize('swaps', [0, 3])
@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly(
    classifier: Process, client: Client, how: signal.Signals, swaps: int
) -> None:
    for _ in range(swaps):
        assert client.call(Trigger, 'update_model').success
    classify_one(client)
    assert classifier.stop(how) == 0
    assert 'Traceback' not in classifier.output
    assert 'rror' not in classifier.output


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'model': '/nowhere.sqz'}, '/nowhere.sqz: No such file'),
        ({'backend': 'abacus'}, 'backend is one of auto, openvino, onnxruntime'),
        ({'cameras': ['front-left']}, 'Invalid topic name'),
        ({'cameras': []}, "for the default write ['']"),
        ({'top_k': 0}, 'top_k'),
        ({'top_k': 'many'}, 'top_k'),
    ],
)
def test_a_start_that_can_not_be(start: Any, models: Any, parameters: dict, message: str) -> None:
    process = start('classifier_node', **{'model': models['one'], **parameters})
    assert process.wait() == 1
    assert message in process.output
    assert 'Traceback' not in process.output
