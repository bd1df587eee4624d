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
"""The vision_msgs in use, built here or released: real clients understand what is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ament_index_python.packages import get_package_share_directory
from rclpy.serialization import deserialize_message, serialize_message
from vision_msgs import msg

pytestmark = pytest.mark.ros

# Of the released vision_msgs 4.1.1; two ends that differ here do not hear each other.
TYPE_HASHES = {
    'Classification': 'f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143',
    'LabelInfo': '3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    'ObjectHypothesis': '51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'VisionClass': '1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a',
    'VisionInfo': '95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284',
}

# In the order in which they are sent.
FIELDS = {
    'Classification': {
        'header': 'std_msgs/Header',
        'results': 'sequence<vision_msgs/ObjectHypothesis>',
    },
    'LabelInfo': {
        'header': 'std_msgs/Header',
        'class_map': 'sequence<vision_msgs/VisionClass>',
        'threshold': 'float',
    },
    'ObjectHypothesis': {'class_id': 'string', 'score': 'double'},
    'VisionClass': {'class_id': 'uint16', 'class_name': 'string'},
    'VisionInfo': {
        'header': 'std_msgs/Header',
        'method': 'string',
        'database_location': 'string',
        'database_version': 'int32',
    },
}


@pytest.mark.parametrize('name', TYPE_HASHES)
def test_type_hash_is_that_of_the_release(name: str) -> None:
    file = Path(get_package_share_directory('vision_msgs'), 'msg', f'{name}.json')
    if not file.is_file():
        pytest.skip('this distribution is older than type hashes')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(file.read_text())['type_hashes']
    }
    assert hashes[f'vision_msgs/msg/{name}'] == f'RIHS01_{TYPE_HASHES[name]}'


@pytest.mark.parametrize('name', FIELDS)
def test_fields_are_those_of_the_release(name: str) -> None:
    fields = getattr(msg, name).get_fields_and_field_types()
    assert list(fields.items()) == list(FIELDS[name].items())


def test_classification_survives_serialisation() -> None:
    sent = msg.Classification(
        results=[
            msg.ObjectHypothesis(class_id='tabby cat', score=0.75),
            msg.ObjectHypothesis(class_id='Katze, süß', score=0.25),
        ]
    )
    sent.header.frame_id = 'front_optical'
    assert deserialize_message(serialize_message(sent), msg.Classification) == sent


def test_a_workspace_of_a_robot_never_builds_the_underlay() -> None:
    assert (Path(__file__).parents[1] / 'underlay' / 'COLCON_IGNORE').is_file()
