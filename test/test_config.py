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
"""The files in config/: the transport profile, and the parameters with their comments."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from sqz_perception.resources import PROFILE_VARIABLES, share, transport_profile

PARAMETERS_FILE = share() / 'config/classifier.yaml'
PROFILE = share() / 'config/fastdds.xml'
DDS = '{http://www.eprosima.com}'
FRAME = 1920 * 1080 * 3  # bytes
PIECE = 65_500  # bytes: Fast DDS cuts a message into pieces of about this size


# The transport profile.


def profile_texts(path: str) -> list[str | None]:
    return [element.text for element in ElementTree.parse(PROFILE).iterfind(path)]


def test_the_profile_has_shared_memory_that_holds_several_frames() -> None:
    transports = {}
    for transport in ElementTree.parse(PROFILE).iter(f'{DDS}transport_descriptor'):
        transports[transport.findtext(f'{DDS}type')] = transport
    memory = transports['SHM']
    assert int(memory.findtext(f'{DDS}segment_size', '0')) >= 8 * FRAME
    assert int(memory.findtext(f'{DDS}port_queue_capacity', '0')) * PIECE >= 8 * FRAME
    assert 'UDPv4' in transports  # for everybody on another machine


def test_the_profile_is_the_default_and_uses_its_transports() -> None:
    (participant,) = ElementTree.parse(PROFILE).iter(f'{DDS}participant')
    defined = profile_texts(f'.//{DDS}transport_descriptor/{DDS}transport_id')
    used = profile_texts(f'.//{DDS}userTransports/{DDS}transport_id')
    assert participant.get('is_default_profile') == 'true'
    assert used == defined
    assert profile_texts(f'.//{DDS}useBuiltinTransports') == ['false']


def test_the_environment_names_the_profile() -> None:
    assert transport_profile({}) == {name: str(PROFILE) for name in PROFILE_VARIABLES}
    assert PROFILE.is_file()


@pytest.mark.parametrize('name', PROFILE_VARIABLES)
def test_a_profile_of_the_users_own_stays(name: str) -> None:
    assert transport_profile({name: '/home/robot/own.xml'}) == {}
    assert transport_profile({name: ''}) != {}


# The parameters' file says what the node declares.


def declared() -> dict[str, Any]:
    pytest.importorskip('rclpy', reason='rclpy comes with ROS 2')
    from sqz_perception.nodes.classifier_parameters import PARAMETERS

    return {parameter.name: parameter for parameter in PARAMETERS}


def comments() -> dict[str, str]:
    """Return the comment above each parameter, in one line."""
    _, _, text = PARAMETERS_FILE.read_text().partition('ros__parameters:')
    blocks = re.findall(r'((?:^ *#.*\n)+)^ *([\w.]+):', text, re.MULTILINE)
    return {name: ' '.join(block.replace('#', ' ').split()) for block, name in blocks}


@pytest.mark.ros
def test_the_file_gives_every_parameter_its_default() -> None:
    yaml = pytest.importorskip('yaml', reason='python3-yaml is not there')
    (section,) = yaml.safe_load(PARAMETERS_FILE.read_text()).items()
    assert section[0] == '/**'  # a wildcard: the node may be in any namespace
    values = section[1]['ros__parameters']
    assert values == {name: parameter.default for name, parameter in declared().items()}
    for name, parameter in declared().items():
        assert type(values[name]) is type(parameter.default), name


@pytest.mark.ros
def test_the_file_explains_every_parameter() -> None:
    explained = comments()
    assert list(explained) == list(declared())
    for name, parameter in declared().items():
        words = set(re.findall(r'-?[\w.]+\b', explained[name]))
        assert {str(value) for value in parameter.within} <= words, name
        assert ('live' in words) == parameter.live, name


@pytest.mark.ros
def test_the_node_reads_the_file() -> None:
    rclpy = pytest.importorskip('rclpy', reason='rclpy comes with ROS 2')
    from sqz_perception.nodes.classifier_parameters import ClassifierSettings
    from sqz_perception.nodes.parameters import Parameters

    arguments = ['--ros-args', '--params-file', str(PARAMETERS_FILE), '-p', 'autostart:=false']
    context = rclpy.Context()
    rclpy.init(args=arguments, context=context)
    node = rclpy.create_node('any', namespace='robot1', context=context)
    try:
        settings = Parameters(node, ClassifierSettings, lambda: False)
        expected = {name: parameter.default for name, parameter in declared().items()}
        values = {name: node.get_parameter(name).value for name in expected}
        assert values == {**expected, 'autostart': False}
        assert settings.current.cameras == ('',)
    finally:
        node.destroy_node()
        context.try_shutdown()
