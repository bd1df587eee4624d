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
"""The steps of the set-up: each is done once, and again only when its inputs change."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import setup_env
from setup_env import Setup, digest
from setup_failures import SetupError
from setup_folder import MARKER
from setup_ros import Ros

# With a distribution there is nothing of ROS 2 to install or build.
SOURCED = Ros('jazzy', Path('/opt/ros/jazzy'))


class Recorded(Setup):
    """A set-up that writes down what it would run."""

    def __init__(self, venv: Path, ros: Ros = SOURCED, refused: str = '') -> None:
        super().__init__(ros, venv)
        self.ran: list[str] = []
        self.refused = refused

    def run(self, *command: str | Path, **environment: str) -> None:
        """Take the command as run, unless it holds what is refused."""
        line = ' '.join(map(str, command))
        if self.refused and self.refused in line:
            raise SetupError(f'no {self.refused}')
        self.ran.append(line)
        if '--editable' in command:
            self.leave_entry_points()

    def leave_entry_points(self) -> None:
        """Leave what pip leaves of an editable install, as far as it is read."""
        info = self.venv / 'lib' / 'python3.12' / 'site-packages' / 'sqz_perception-0.dist-info'
        info.mkdir(parents=True)
        (info / 'entry_points.txt').write_text('[console_scripts]\nsome_node = a.b:main\n')


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Return where a virtual environment is to be."""
    return tmp_path / 'venv'


def test_a_second_run_does_nothing(venv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Recorded(venv)
    first.reach('demo')
    assert '-m venv --system-site-packages' in first.ran[0]
    assert any('locked/runtime' in line for line in first.ran)
    assert not any('ros-jazzy.txt' in line for line in first.ran)
    assert (venv / 'lib' / 'sqz_perception' / 'some_node').readlink() == venv / 'bin' / 'some_node'
    assert (venv / 'share' / 'sqz_perception' / 'config' / 'fastdds.xml').is_file()
    capsys.readouterr()

    second = Recorded(venv)
    second.reach('demo')
    assert second.ran == []
    assert 'is up to date' in capsys.readouterr().out


def test_a_larger_goal_adds_only_what_is_missing(venv: Path) -> None:
    Recorded(venv).reach('demo')
    more = Recorded(venv)
    more.reach('test')
    assert [line.split('locked/')[-1] for line in more.ran] == ['test.txt']


def test_a_changed_requirement_costs_its_own_step(venv: Path) -> None:
    first = Recorded(venv)
    first.reach('demo')
    first.stamps['runtime'] = 'that of another file'
    first.write_stamps()
    again = Recorded(venv)
    again.reach('demo')
    assert [line.split('locked/')[-1] for line in again.ran] == ['runtime.txt']


def test_a_failed_step_is_done_again_and_those_before_are_kept(venv: Path) -> None:
    with pytest.raises(SetupError):
        Recorded(venv, refused='locked/runtime').reach('demo')
    again = Recorded(venv)
    again.reach('demo')
    assert 'locked/runtime' in again.ran[0]


def test_another_ros_or_place_starts_anew(venv: Path, tmp_path: Path) -> None:
    Recorded(venv).reach('demo')
    other = Recorded(venv, Ros('humble', Path('/opt/ros/humble')))
    other.reach('demo')
    assert '-m venv' in other.ran[0]

    moved = venv.rename(tmp_path / 'moved')
    elsewhere = Recorded(moved)
    elsewhere.reach('demo')
    assert '-m venv' in elsewhere.ran[0]


def test_a_folder_that_can_not_be_removed_is_refused(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(errno.ENOTEMPTY, 'Directory not empty', str(folder / 'lib'))

    monkeypatch.setattr(setup_env, 'clear', fail)
    with pytest.raises(SetupError, match='can not be made anew .* remove it, and run again'):
        Recorded(venv).reach('demo')


def test_one_that_was_made_before_the_marker_becomes_its_own(venv: Path) -> None:
    Recorded(venv).reach('demo')
    (venv / MARKER).unlink()
    Recorded(venv).reach('demo')
    assert (venv / MARKER).is_file()


def test_a_command_that_fails_says_why_and_where_the_log_is(venv: Path) -> None:
    venv.mkdir()
    setup = Setup(SOURCED, venv)
    with pytest.raises(SetupError, match=r'error: out of luck .*setup\.log'):
        setup.run('bash', '-c', 'echo going; echo error: out of luck; exit 3')
    assert 'going' in (venv / 'setup.log').read_text()


def test_digest_follows_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / 'a').write_text('one')
    before = digest(folder)
    assert digest(folder) == before
    (folder / 'a').write_text('two')
    changed = digest(folder)
    (folder / 'a').rename(folder / 'b')
    assert len({before, changed, digest(folder), digest(tmp_path / 'none')}) == 4
