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
"""An update from the first message to its commit or back, with real files, keys and messages."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sqz_perception.errors import BackendFailed, SwapRefused, UpdateError
from sqz_perception.model import file
from sqz_perception.model.network import Model
from sqz_perception.update.host import Policy, Serving
from sqz_perception.update.receiver import Receiver
from sqz_perception.update.sender import Pace, Sender
from sqz_perception.update.store import Store
from sqz_perception.update.trust import pack
from sqz_perception.update.updater import Updater
from sqz_perception.update.wire import State

pytest.importorskip('cryptography', reason='signing needs it')
from workstation import Workstation, workstation

TRIAL = 5.0  # seconds


@dataclass
class Robot:
    """A robot without cameras: its model server is a list of models."""

    folder: Path
    root: bytes
    path: Path
    policy: Policy = field(default_factory=lambda: Policy(trial=TRIAL))
    milliseconds: float = 10.0
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(self.folder)
        self.start()

    def start(self) -> str:
        """Start as after a reboot; return the identity of a model whose trial was cut short."""
        self.store.close()
        ended = self.store.open()
        if not self.store.state.current:
            self.store.use(str(self.path), '')
        self.used = [self.read(self.store.path(self.store.state.current))]
        receiver = Receiver('robot')
        self.updater = Updater(
            self.store, receiver, self, self.root, lambda: self.policy, self.log.append
        )
        return ended

    @staticmethod
    def read(path: Path) -> tuple[Model, Path]:
        return file.read(path), path

    @property
    def release(self) -> int:
        return self.used[-1][0].release

    @property
    def identity(self) -> str:
        return file.identity(self.used[-1][0])

    # What the updater asks of its host.

    def serving(self) -> Serving:
        model, path = self.used[-1]
        return Serving(model.name, model.release, file.identity(model), path)

    def load(self, path: Path) -> tuple[Model, Path]:
        if self.milliseconds > self.slowest():
            raise SwapRefused(f'{path}: too slow')
        return self.read(path)

    def swap(self, model: tuple[Model, Path]) -> str:
        self.used.append(model)
        return f'{self.used[-2][0].release} -> {model[0].release}'

    def go_back(self, path: Path | None) -> str:
        gone = self.used.pop()
        if path is not None:
            self.used = [self.read(path)]
        return f'{gone[0].release} -> {self.release}'

    def slowest(self) -> float:
        return 33.0


@pytest.fixture
def station(tmp_path: Path) -> Workstation:
    return workstation(tmp_path)


@pytest.fixture
def robot(station: Workstation, tmp_path: Path) -> Robot:
    station.publish(1)
    return Robot(tmp_path / 'store', station.root, station.model(1))


class Push:
    """A broadcast of the newest publication, in simulated time."""

    def __init__(self, station: Workstation, robot: Robot) -> None:
        targets = [data for _, data in station.repository.files()]
        self.sender = Sender(pack(station.repository.bundle()), targets, pace=Pace(rate=1e7))
        self.robot, self.now = robot, 0.0

    def run(self, seconds: float, *, until: str = '') -> str:
        """Let time pass; return the robot's state."""
        ends = self.now + seconds
        while self.now < ends and self.robot.updater.status.state != (until or '-'):
            while (message := self.sender.next_message(self.now)) is not None:
                self.robot.updater.receive(message, self.now)
            for reply in self.robot.updater.tick(self.now):
                self.sender.receive(reply)
            self.now += 0.05
        return self.robot.updater.status.state

    def outcome(self) -> tuple[State, str]:
        (reply,) = self.sender.robots.values()
        return reply.state, reply.reason


def test_an_update_is_received_activated_tried_and_committed(
    station: Workstation, robot: Robot
) -> None:
    station.publish(2)
    push = Push(station, robot)
    assert push.run(20, until='staged') == 'staged'
    assert robot.release == 1
    assert any('the changes' in line for line in robot.log)
    assert robot.updater.activate(push.now) == '1 -> 2'
    assert push.run(TRIAL / 2) == 'trial'
    robot.updater.on_result(robot.identity, 12.0)
    assert push.run(TRIAL) == 'committed'
    push.run(3)
    assert push.outcome() == (State.COMMITTED, '')
    robot.start()
    assert robot.release == 2
    assert Push(station, robot).run(5) == 'committed'  # the same again changes nothing


def test_auto_update_waits_until_the_robot_allows_it(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    robot.policy = replace(robot.policy, automatic=True, allowed=False)
    push = Push(station, robot)
    assert push.run(10) == 'staged'
    robot.policy = replace(robot.policy, allowed=True)
    push.run(TRIAL + 1)
    assert (robot.updater.status.state, robot.release) == ('committed', 2)


def test_a_robot_with_another_base_takes_the_whole_model(
    station: Workstation, robot: Robot
) -> None:
    station.publish(2)
    station.publish(3)
    assert Push(station, robot).run(20, until='staged') == 'staged'
    assert any('the whole model' in line for line in robot.log)


def test_frames_that_fail_bring_the_old_model_back(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    push = Push(station, robot)
    push.run(20, until='staged')
    robot.updater.activate(push.now)
    for _ in range(4):
        robot.updater.on_error(robot.identity, BackendFailed('the runtime gave up'))
    assert push.run(1) == 'rolled back'
    push.run(3)
    assert robot.release == 1
    assert push.outcome()[0] == State.ROLLED_BACK
    assert 'the runtime gave up' in push.outcome()[1]
    again = Push(station, robot)
    assert again.run(10) == 'rolled back'  # it is not tried twice
    robot.start()
    assert Push(station, robot).run(10) == 'refused'
    assert 'failed its trial here' in robot.updater.status.text


def test_a_model_that_is_slow_on_frames_is_rolled_back(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    push = Push(station, robot)
    push.run(20, until='staged')
    robot.updater.activate(push.now)
    for _ in range(5):
        robot.updater.on_result(robot.identity, 80.0)
    push.run(TRIAL + 1)
    assert robot.release == 1
    assert '80.0 ms per frame; at most 33.0 ms' in robot.updater.status.text


def test_a_crash_in_the_trial_brings_the_old_model_back_at_the_next_start(
    station: Workstation, robot: Robot
) -> None:
    station.publish(2)
    push = Push(station, robot)
    push.run(20, until='staged')
    robot.updater.activate(push.now)
    new = robot.identity
    assert robot.start() == new
    assert robot.release == 1
    assert robot.store.state.failed == (new,)


def test_a_crash_before_the_trial_loses_nothing(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    Push(station, robot).run(20, until='staged')
    assert robot.start() == ''
    assert Push(station, robot).run(20, until='staged') == 'staged'


def test_rollback_needs_no_download(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    push = Push(station, robot)
    push.run(20, until='staged')
    robot.updater.activate(push.now)
    push.run(TRIAL + 1, until='committed')
    assert robot.updater.go_back('asked for') == '2 -> 1'
    with pytest.raises(UpdateError, match='there is no earlier model'):
        robot.updater.go_back('asked for')
    robot.start()
    assert robot.release == 1
    assert Push(station, robot).run(10) == 'refused'
    assert 'not newer than release 2' in robot.updater.status.text


def test_a_delta_whose_result_is_wrong_is_replaced_by_the_whole_model(
    station: Workstation, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.publish(2)
    other = file.read(station.model(9))
    monkeypatch.setattr('sqz_perception.update.updater.delta.apply', lambda *_: other)
    assert Push(station, robot).run(20, until='staged') == 'staged'
    assert any('asking for the whole model' in line for line in robot.log)


@pytest.mark.parametrize(
    ('numbers', 'name', 'why'),
    [((2,), 'other', r'is for other'), ((), '', '')],
)
def test_a_release_of_another_model_is_refused(
    station: Workstation, robot: Robot, numbers: tuple[int, ...], name: str, why: str
) -> None:
    other = workstation(station.folder / 'other')
    for number in numbers:
        other.publish(number, name)
        robot.root = other.root
        robot.start()
        assert Push(other, robot).run(10) == 'refused'
        assert why in robot.updater.status.text
    assert robot.release == 1


def test_a_republished_release_with_other_bytes_is_refused(
    station: Workstation, robot: Robot
) -> None:
    file.write(replace(file.read(station.model(1)), description='other'), robot.path)
    robot.start()
    assert Push(station, robot).run(10) == 'refused'
    assert 'not newer than release 1' in robot.updater.status.text


def test_a_release_of_a_stranger_is_refused(station: Workstation, robot: Robot) -> None:
    stranger = workstation(station.folder / 'stranger')
    stranger.publish(2)
    push = Push(stranger, robot)
    assert push.run(10) == 'refused'
    assert 'signed by 0/' in push.outcome()[1]
    station.publish(2)
    assert Push(station, robot).run(20, until='staged') == 'staged'


def test_unsigned_updates_need_a_parameter(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    robot.root = b''
    robot.start()
    assert Push(station, robot).run(10) == 'refused'
    assert 'set update_root' in robot.updater.status.text
    robot.policy = replace(robot.policy, unsigned=True)
    robot.start()
    assert Push(station, robot).run(20, until='staged') == 'staged'


def test_a_full_disk_refuses_the_update_and_the_robot_goes_on(
    station: Workstation, robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    station.publish(2)

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    push = Push(station, robot)
    assert push.run(10) == 'refused'
    assert 'No space left on device' in push.outcome()[1]
    monkeypatch.undo()
    robot.start()
    assert Push(station, robot).run(20, until='staged') == 'staged'


def test_a_model_that_is_too_slow_is_refused_before_its_trial(
    station: Workstation, robot: Robot
) -> None:
    station.publish(2)
    robot.milliseconds = 100.0
    assert Push(station, robot).run(10) == 'refused'
    assert 'too slow' in robot.updater.status.text


def test_nothing_to_activate(robot: Robot) -> None:
    with pytest.raises(UpdateError, match='no update is ready'):
        robot.updater.activate(0.0)


@pytest.fixture
def server(station: Workstation) -> Iterator[str]:
    """Serve the repository as any web server would."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(station.repository.root))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{http.server_address[1]}'
        http.shutdown()


@pytest.mark.parametrize('kind', ['folder', 'http'])
def test_the_same_update_from_a_folder_or_a_web_server(
    station: Workstation, robot: Robot, server: str, kind: str
) -> None:
    station.publish(2)
    place = server if kind == 'http' else str(station.repository.root)
    robot.policy = replace(robot.policy, source=place)
    robot.updater.look()
    assert robot.updater.staged
    assert robot.updater.activate(0.0) == '1 -> 2'


@pytest.mark.parametrize(
    ('place', 'match'),
    [
        ('/nowhere', 'no such file; is the repository there'),
        ('http://127.0.0.1:9', 'check update_source and the network'),
    ],
)
def test_a_source_that_is_not_there(robot: Robot, place: str, match: str) -> None:
    robot.policy = replace(robot.policy, source=place)
    with pytest.raises(UpdateError, match=match):
        robot.updater.look()
    assert robot.release == 1


def test_a_damaged_file_in_a_source(station: Workstation, robot: Robot) -> None:
    station.publish(2)
    for path in station.repository.targets.rglob('*.sq?'):
        path.write_bytes(b'x' * path.stat().st_size)
    robot.policy = replace(robot.policy, source=str(station.repository.root))
    with pytest.raises(UpdateError, match='damaged; copy the repository again'):
        robot.updater.look()
