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
"""The whole life of a node with updates over the air: real processes, real DDS, real keys."""

from __future__ import annotations

import array
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import UInt8MultiArray
from std_srvs.srv import SetBool, Trigger

from ros_support import Client, Process, picture
from sqz_perception.update.sender import Pace, Sender
from sqz_perception.update.trust import pack
from sqz_perception.update.wire import Reply, State

pytest.importorskip('cryptography', reason='signing needs it')
from workstation import Workstation, workstation

QOS = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)


class Push:
    """Broadcasts a station's newest publication from the test's own node."""

    def __init__(self, client: Client, station: Workstation, prefix: str = '') -> None:
        targets = [data for _, data in station.repository.files()]
        self.sender = Sender(pack(station.repository.bundle()), targets, pace=Pace(rate=2e6))
        self._publisher = client.node.create_publisher(
            UInt8MultiArray, f'{prefix}model_updates', QOS
        )
        client.node.create_subscription(
            UInt8MultiArray, f'{prefix}model_update_replies',
            lambda message: self.sender.receive(bytes(message.data)), QOS,
        )  # fmt: skip
        self._client = client

    def until(self, *states: State) -> Reply:
        """Send until the one robot is in one of the states; return its reply."""

        def reached() -> Reply | None:
            while (data := self.sender.next_message(time.monotonic())) is not None:
                self._publisher.publish(UInt8MultiArray(data=array.array('B', data)))
            replies = self.sender.robots.values()
            return next((reply for reply in replies if reply.state in states), None)

        return self._client.until(reached, f'a robot in one of {states}')


@pytest.fixture
def station(tmp_path: Path) -> Workstation:
    made = workstation(tmp_path / 'workstation')
    (tmp_path / 'root.json').write_bytes(made.root)
    made.publish(1)
    return made


def updating(start: Any, station: Workstation, **parameters: Any) -> Process:
    root = station.folder.parent / 'root.json'
    options = {'trial_time': 1.0, **parameters}
    process = start(
        'classifier_node', model=station.model(1), update_root=root, max_inference_time=0.0,
        **options,
    )  # fmt: skip
    process.wait_for('classifying')
    return process


def test_the_life_of_a_robot_with_updates(
    start: Any, client: Client, station: Workstation, tmp_path: Path
) -> None:
    node = updating(start, station)
    camera, results = client.camera()
    diagnostics = client.collect(DiagnosticArray, '/diagnostics')

    def status() -> Any:
        found = [s for m in diagnostics for s in m.status if s.name.endswith(': updates')]
        return found[-1] if found else None

    # An update arrives and waits for a call; frames go on without a gap while it becomes active.
    station.publish(2)
    push = Push(client, station)
    assert push.until(State.STAGED).release == 1
    sent = 0
    update = client.begin(Trigger, 'update_model')
    while not update.done() or sent < 10:
        camera.publish(picture(client.stamp()))
        sent += 1
        client.until(lambda: len(results) >= sent, 'the classification of every frame')  # noqa: B023
    answer = update.result()
    assert answer.success, answer.message
    assert 'release 1' in answer.message
    assert '-> tiny release 2' in answer.message
    assert push.until(State.COMMITTED).release == 2

    # A bad one is refused; the node goes on as before.
    stranger = workstation(tmp_path / 'stranger')
    stranger.publish(3)
    refused = Push(client, stranger).until(State.REFUSED)
    assert 'signed by 0/' in refused.reason
    client.until(lambda: status() and 'refused' in status().message, 'the refusal in /diagnostics')
    camera.publish(picture(client.stamp()))
    client.until(lambda: len(results) > sent, 'a classification')

    # Back without a download, once; and that holds after a restart.
    back = client.call(Trigger, 'rollback_model')
    assert back.success, back.message
    assert '-> tiny release 1' in back.message
    again = client.call(Trigger, 'rollback_model')
    assert not again.success
    assert 'no earlier model' in again.message
    assert node.stop() == 0
    node = updating(start, station)
    assert 'loaded tiny release 1' in node.output

    # Killed in the middle of a trial: the old model runs at the next start, and it is told.
    station.publish(4)
    Push(client, station).until(State.STAGED)
    client.set_parameter('classifier', 'trial_time', 600.0)
    assert client.call(Trigger, 'update_model').success
    node.stop(signal.SIGKILL)
    node = updating(start, station)
    assert 'loaded tiny release 1' in node.output
    assert 'did not end its trial' in node.output
    failed = Push(client, station).until(State.REFUSED)
    assert 'failed its trial here' in failed.reason

    # A newer release helps; committed, it is what the next start loads.
    station.publish(5)
    push = Push(client, station)
    push.until(State.STAGED)
    assert client.call(Trigger, 'update_model').success
    push.until(State.COMMITTED)
    nothing = client.call(Trigger, 'update_model')
    assert not nothing.success
    assert 'no update has arrived' in nothing.message
    assert node.stop() == 0
    node = updating(start, station)
    assert 'loaded tiny release 5' in node.output


def test_two_robots_in_two_namespaces_update_independently(
    start: Any, client: Client, station: Workstation, tmp_path: Path
) -> None:
    nodes = [
        updating(start, station, auto_update=True, store_dir=tmp_path / name)
        if name == 'a'
        else start(
            'classifier_node', ['__ns:=/b'], model=station.model(1),
            update_root=tmp_path / 'root.json', store_dir=tmp_path / name, auto_update=True,
        )
        for name in ('a', 'b')
    ]  # fmt: skip
    nodes[1].wait_for('classifying')
    held = client.call(SetBool, '/b/classifier/allow_updates', SetBool.Request(data=False))
    assert held.success
    station.publish(2)
    assert Push(client, station).until(State.COMMITTED).robot == 'classifier'
    assert Push(client, station, '/b/').until(State.STAGED).robot == 'b/classifier'
    client.spin_for(0.5)
    assert 'trial' not in nodes[1].output
    client.call(SetBool, '/b/classifier/allow_updates', SetBool.Request(data=True))
    nodes[1].wait_for('is on trial')


def test_updates_from_a_folder_and_what_is_said_without_a_root(
    start: Any, client: Client, station: Workstation, tmp_path: Path
) -> None:
    station.publish(2)
    node = start(
        'classifier_node', model=station.model(1), update_source=station.repository.root,
    )  # fmt: skip
    node.wait_for('classifying')
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert 'set update_root' in answer.message
    node.stop()
    node = updating(start, station, update_source=station.repository.root, trial_time=0.0)
    answer = client.call(Trigger, 'update_model')
    assert answer.success, answer.message
    node.wait_for('runs after a trial')
    again = client.call(Trigger, 'update_model')
    assert not again.success
    assert 'in use already' in again.message


def test_junk_on_the_topic_stops_no_frame(
    start: Any, client: Client, station: Workstation
) -> None:
    node = updating(start, station)
    camera, results = client.camera()
    junk = client.node.create_publisher(UInt8MultiArray, 'model_updates', QOS)
    client.until(junk.get_subscription_count, 'the subscription')
    for sent in range(1, 21):
        for i in range(100):
            size = 5000 if i % 10 == 0 else 1200
            junk.publish(UInt8MultiArray(data=array.array('B', b'SQ\x01\x01' + bytes(size - 4))))
        camera.publish(picture(client.stamp()))
        client.until(lambda: len(results) >= sent, 'the classification of every frame')  # noqa: B023
    assert node.stop() == 0
