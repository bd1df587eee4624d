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
"""The model in use, and the services that change it, in a live node."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from std_srvs.srv import SetBool, Trigger

from ros_support import ROOT, Client, Process, picture
from sqz_perception.model import file
from sqz_perception.model.network import SelfTest, Tensor
from tiny import tiny_model

GATED = str(ROOT / 'test/gated_node.py')


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that holds up the loads of a gated node while it exists."""
    gate = tmp_path / 'gate'
    monkeypatch.setenv('SQZ_TEST_GATE', str(gate))
    return gate


@pytest.fixture
def gated(start: Any, models: Any, gate: Path) -> Process:
    """Return an active node with the model 'one', whose loads ``gate`` holds up."""
    process = start(GATED, model=models['one'])
    process.wait_for('classifying')
    return process


def transition(client: Client, label: str) -> bool:
    request = ChangeState.Request(transition=Transition(label=label))
    return client.call(ChangeState, 'classifier/change_state', request).success


def state(client: Client) -> int:
    return client.call(GetState, 'classifier/get_state').current_state.id


def name_model(client: Client, path: object) -> None:
    assert client.set_parameter('classifier', 'model', str(path)).successful


def winner(client: Client, camera: Any, received: list[Any]) -> str:
    """Return the best class of the next frame; several are sent, since the first may get lost."""
    received.clear()

    def answered() -> list[Any]:
        camera.publish(picture(client.stamp()))
        return received

    return client.until(answered, 'a classification')[-1].results[0].class_id


@pytest.mark.parametrize('path', ['~nosuchuser/new.sqz', '/proc/self/mem', '/', 'a' * 5000])
def test_a_path_of_no_model_is_refused(classifier: Process, client: Client, path: str) -> None:
    name_model(client, path)
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert path in answer.message
    assert 'still serving tiny release 1' in answer.message
    camera, received = client.camera()
    assert winner(client, camera, received) == 'bucket'


def test_nothing_waits_for_a_load(gated: Process, models: Any, client: Client, gate: Path) -> None:
    camera, received = client.camera()
    gate.touch()
    name_model(client, models['two'])
    update = client.begin(Trigger, 'update_model')
    busy = client.call(Trigger, 'update_model')
    assert not busy.success
    assert busy.message.startswith(f'busy: {models["two"]} is being loaded')
    assert client.call(SetBool, 'classifier/enable', SetBool.Request(data=True)).success
    assert client.set_parameter('classifier', 'top_k', 2).successful
    assert state(client) == State.PRIMARY_STATE_ACTIVE
    assert winner(client, camera, received) == 'bucket'
    assert not update.done()

    answer = client.call(Trigger, 'rollback_model')  # there is nothing else to go back from
    assert answer.success
    assert answer.message.startswith(f'cancelled the load of {models["two"]}; still serving tiny')
    client.until(update.done, 'the answer of the cancelled update')
    assert not update.result().success
    assert 'the load was cancelled; still serving tiny release 1' in update.result().message

    again = client.begin(Trigger, 'update_model')  # it waits for the end of the cancelled load
    client.spin_for(0.2)
    gate.unlink()
    client.until(again.done, 'the answer of the next update')
    assert again.result().success
    assert winner(client, camera, received) == 'robot'
    assert 'ERROR' not in gated.output


def test_a_load_is_cancelled_by_a_rollback_and_by_cleanup(
    gated: Process, models: Any, client: Client, gate: Path
) -> None:
    name_model(client, models['two'])
    assert client.call(Trigger, 'update_model').success
    gate.touch()
    update = client.begin(Trigger, 'update_model')
    client.until(lambda: 'busy' in client.call(Trigger, 'update_model').message, 'a load')
    answer = client.call(Trigger, 'rollback_model')
    assert answer.success
    assert '-> tiny release 1' in answer.message
    client.until(update.done, 'the answer of the update')
    assert not update.result().success

    update = client.begin(Trigger, 'update_model')
    client.until(lambda: 'busy' in client.call(Trigger, 'update_model').message, 'a load')
    assert transition(client, 'deactivate')
    assert transition(client, 'cleanup')
    client.until(update.done, 'the answer of the update')
    assert not update.result().success


def test_a_configure_that_takes_long_blocks_nothing(
    start: Any, models: Any, client: Client, gate: Path
) -> None:
    gate.touch()
    process = start(GATED, model=models['one'])
    assert state(client) == State.TRANSITION_STATE_CONFIGURING
    assert not transition(client, 'shutdown')
    for service in ('update_model', 'rollback_model'):
        assert 'busy' in client.call(Trigger, service).message
    assert not client.set_parameter('classifier', 'backend', 'onnxruntime').successful
    gate.unlink()
    process.wait_for('classifying')


def test_no_memory_for_a_model(gated: Process, models: Any, client: Client, gate: Path) -> None:
    gate.write_text('MemoryError')
    name_model(client, models['two'])
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert 'MemoryError: cannot allocate 8 GiB; still serving tiny release 1' in answer.message
    assert transition(client, 'deactivate')
    assert transition(client, 'cleanup')
    assert not transition(client, 'configure')
    assert state(client) == State.PRIMARY_STATE_UNCONFIGURED
    gate.unlink()
    assert transition(client, 'configure')
    assert transition(client, 'activate')


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('when', ['configure', 'update'])
def test_the_process_ends_in_the_middle_of_a_load(
    start: Any, models: Any, client: Client, gate: Path, how: signal.Signals, when: str
) -> None:
    if when == 'configure':
        gate.touch()
        process = start(GATED, model=models['one'])
        client.until(lambda: 'busy' in client.call(Trigger, 'update_model').message, 'a load')
    else:
        process = start(GATED, model=models['one'])
        process.wait_for('classifying')
        gate.touch()
        client.begin(Trigger, 'update_model')
        client.until(lambda: 'busy' in client.call(Trigger, 'update_model').message, 'a load')
    segments = process.segments()
    before = time.monotonic()
    assert process.stop(how) == 0
    assert not [segment for segment in segments if segment.exists()]  # 64 MiB each
    assert time.monotonic() - before < 5  # 2 s where the machine is idle
    for word in ('ERROR', 'Traceback', 'Exception'):
        assert word not in process.output


def test_a_rollback_survives_a_reconfigure(
    classifier: Process, models: Any, client: Client
) -> None:
    camera, received = client.camera()
    name_model(client, models['two'])
    assert client.call(Trigger, 'update_model').success
    assert client.call(Trigger, 'update_model').success  # again: the same model twice
    assert '-> tiny release 1' in client.call(Trigger, 'rollback_model').message

    refused = client.call(Trigger, 'rollback_model')
    assert (refused.success, 'there is no earlier model' in refused.message) == (False, True)

    def reconfigure() -> None:
        for label in ('deactivate', 'cleanup', 'configure', 'activate'):
            assert transition(client, label)

    reconfigure()
    assert winner(client, camera, received) == 'bucket'
    name_model(client, '/nowhere.sqz')
    assert not client.call(Trigger, 'update_model').success
    reconfigure()  # what was refused is no request any more
    assert winner(client, camera, received) == 'bucket'
    name_model(client, models['two'])  # a new value is
    reconfigure()
    assert winner(client, camera, received) == 'robot'


def test_a_model_that_is_too_slow_is_refused(
    classifier: Process, client: Client, tmp_path: Path
) -> None:
    large = tmp_path / 'large.sqz'
    file.write(tiny_model(2, side=2000, release=2, dtype=np.int8), large)
    camera, received = client.camera()
    for _ in range(20):  # three frames at a time: the median interval is that of a fast camera
        for _ in range(3):
            camera.publish(picture(client.stamp()))
        client.spin_for(0.02)
    client.until(lambda: received, 'a classification')
    name_model(client, large)
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert 'ms per frame, the limit is ' in answer.message
    assert 'raise max_inference_time' in answer.message

    assert client.set_parameter('classifier', 'max_inference_time', 1e-6).successful
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert 'the limit is 0.0 ms (max_inference_time)' in answer.message

    assert client.set_parameter('classifier', 'max_inference_time', 0).successful
    answer = client.call(Trigger, 'update_model')
    assert answer.success
    assert answer.message.endswith(' ms per frame')


def test_a_model_whose_logits_are_no_numbers_is_refused(
    classifier: Process, client: Client, tmp_path: Path
) -> None:
    model = tiny_model(2, release=2, bypass=False)
    huge = {
        name: Tensor(name, np.full(tensor.dense().shape, 3e38, np.float32))
        for name, tensor in model.tensors.items()
    }
    file.write(replace(model, tensors=huge, self_test=SelfTest()), tmp_path / 'nan.sqz')
    name_model(client, tmp_path / 'nan.sqz')
    answer = client.call(Trigger, 'update_model')
    assert not answer.success
    assert 'still serving tiny release 1' in answer.message
    camera, received = client.camera()
    assert winner(client, camera, received) == 'bucket'
