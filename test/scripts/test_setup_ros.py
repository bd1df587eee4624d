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
"""Which ROS 2 the set-up chooses, and the shell that it leaves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import setup_ros
from setup_failures import SetupError
from setup_ros import Ros, choose


def prefix(folder: Path, *packages: str) -> Path:
    """Return a folder that looks like a distribution with these packages."""
    for package in packages:
        (folder / 'share' / package).mkdir(parents=True)
    return folder


def source(monkeypatch: pytest.MonkeyPatch, name: str, *prefixes: Path) -> None:
    """Set what sourcing a distribution sets."""
    monkeypatch.setenv('ROS_DISTRO', name)
    monkeypatch.setenv('AMENT_PREFIX_PATH', ':'.join(map(str, prefixes)))


def test_nothing_sourced_takes_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    monkeypatch.delenv('AMENT_PREFIX_PATH', raising=False)
    assert choose('kilted') == Ros('kilted')


def test_a_sourced_distribution_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    humble = prefix(tmp_path / 'humble', 'rclpy', 'vision_msgs')
    source(monkeypatch, 'humble', humble)
    assert choose('jazzy') == Ros('humble', humble)


def test_vision_msgs_may_come_from_a_workspace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    humble = prefix(tmp_path / 'humble', 'rclpy')
    source(monkeypatch, 'humble', prefix(tmp_path / 'workspace', 'vision_msgs'), humble)
    assert choose('jazzy') == Ros('humble', humble)


def test_a_distribution_without_vision_msgs_names_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source(monkeypatch, 'jazzy', prefix(tmp_path / 'jazzy', 'rclpy'))
    with pytest.raises(SetupError, match='sudo apt install ros-jazzy-vision-msgs'):
        choose('jazzy')


def test_another_distribution_than_the_sourced_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source(monkeypatch, 'jazzy', prefix(tmp_path / 'jazzy', 'rclpy', 'vision_msgs'))
    with pytest.raises(SetupError, match='ROS 2 jazzy is sourced'):
        choose('kilted')


def test_the_shell_of_this_checkout_is_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    source(monkeypatch, 'jazzy', setup_ros.ROOT / '.venv')
    assert choose('kilted') == Ros('kilted')


def test_folders_of_the_wheels_builder_are_replaced(tmp_path: Path) -> None:
    built = '/opt/python/cp312-cp312'
    file = tmp_path / 'export.cmake'
    file.write_text(
        f'"{built}/include/python3.12;{built}/lib/python3.12/site-packages/numpy/_core/include"'
    )
    setup_ros.use_own_folders(file, {'include': '/own/include', 'numpy': '/own/numpy'})
    assert file.read_text() == '"/own/include;/own/numpy"'


@pytest.mark.parametrize(
    ('ros', 'name'),
    [
        (Ros('jazzy'), 'FASTRTPS_DEFAULT_PROFILES_FILE'),
        (Ros('kilted'), 'FASTDDS_DEFAULT_PROFILES_FILE'),
        (Ros('humble', Path('/opt/ros/humble')), 'FASTRTPS_DEFAULT_PROFILES_FILE'),
    ],
)
def test_the_shell_sets_a_transport_profile_unless_one_is_set(
    ros: Ros, name: str, tmp_path: Path
) -> None:
    venv = tmp_path / "it's a venv"
    venv.mkdir()
    setup_ros.write_shell(ros, venv)

    def shell(**environment: str) -> list[str]:
        script = f'set -u; source "$0"/setup.bash; echo "$VIRTUAL_ENV|${name}"'
        given = {'PATH': '/usr/bin:/bin', 'AMENT_PREFIX_PATH': '/some', **environment}
        command = ['bash', '-c', script, str(venv)]
        run = subprocess.run(command, env=given, check=True, capture_output=True, text=True)
        return run.stdout.strip().split('|')

    assert shell() == [str(venv), str(setup_ros.PROFILE)]
    assert shell(**{name: '/own.xml'}) == [str(venv), '/own.xml']
