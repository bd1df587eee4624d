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
"""
Start the classifier: ros2 launch sqz_perception classify.launch.py image_topic:=/camera/image_raw.

An argument that is given wins over the params file; one that is not given changes nothing there.
If the node fails, the launch ends with exit code 1, unless use_respawn starts the node again.
"""

from __future__ import annotations

import math
import os
import posixpath
from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from sqz_perception.nodes import params_files
from sqz_perception.resources import CAMERA_TOPIC, share, transport_profile

TRUTH = ['true', 'false', 'True', 'False']

ARGUMENTS = (
    DeclareLaunchArgument(
        'image_topic',
        default_value='',
        description='Topic of the camera. A relative name lies in the namespace. '
        f'Empty: {CAMERA_TOPIC}, and nothing where the params file names the cameras',
    ),
    DeclareLaunchArgument(
        'transport',
        default_value='',
        choices=['', 'raw', 'compressed'],
        description='raw: subscribe to <image_topic>; compressed: to <image_topic>/compressed. '
        'Empty: as the params file says (raw)',
    ),
    DeclareLaunchArgument(
        'model',
        default_value='',
        description='Path of a .sqz model file. '
        'Empty: as the params file says (the model in the package)',
    ),
    DeclareLaunchArgument(
        'namespace', default_value='', description='Namespace of the node and of its topics'
    ),
    DeclareLaunchArgument(
        'params_file',
        default_value=str(share() / 'config' / 'classifier.yaml'),
        description='YAML file with the parameters of the node',
    ),
    DeclareLaunchArgument(
        'backend',
        default_value='',
        choices=['', 'auto', 'openvino', 'onnxruntime'],
        description='Inference runtime. Empty: as the params file says (auto)',
    ),
    DeclareLaunchArgument(
        'log_level',
        default_value='info',
        choices=['debug', 'info', 'warn', 'error', 'fatal'],
        description='Least severity that the node logs',
    ),
    DeclareLaunchArgument(
        'use_sim_time',
        default_value='',
        choices=['', *TRUTH],
        description='Take the time from /clock. Empty: as the params file says (false)',
    ),
    DeclareLaunchArgument(
        'use_respawn',
        default_value='false',
        choices=TRUTH,
        description='Start the node again when it has ended. false: a failure ends the launch',
    ),
    DeclareLaunchArgument(
        'respawn_delay',
        default_value='2.0',
        description='Seconds between the end of the node and its next start',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` starts."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """
    Return the node.

    It is a lifecycle node, but it configures and activates itself, so a plain Node is enough:
    LifecycleNode would add a second ROS node, inside launch, only to send transitions that nobody
    needs. Managers of other nodes reach the lifecycle services all the same.
    """
    given = dict(context.launch_configurations)
    name, namespace, params = 'classifier', _namespace(given), _params_file(given)
    respawn = _is_true(given['use_respawn'])
    return [
        Node(
            package='sqz_perception',
            executable='classifier_node',
            name=name,
            namespace=namespace,
            parameters=[str(params), *overrides(given)],
            remappings=remaps(given['image_topic'], params, posixpath.join(namespace, name)),
            ros_arguments=['--log-level', f'{_logger(namespace, name)}:={given["log_level"]}'],
            additional_env=transport_profile(context.environment),
            respawn=respawn,
            respawn_delay=_seconds('respawn_delay', given['respawn_delay']),
            on_exit=None if respawn else fail_with_node,
            output='screen',
        )
    ]


def fail_with_node(event: ProcessExited, context: LaunchContext) -> None:
    """
    End the launch with exit code 1 if the node has failed.

    An error in an event handler is the only way: launch ignores the exit codes of processes.
    """
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'{event.process_name} failed with exit code {event.returncode}')


def overrides(given: dict[str, str]) -> list[dict[str, Any]]:
    """Return the parameters that were given as launch arguments, and only those."""
    values: dict[str, Any] = {}
    for name in ('model', 'transport', 'backend'):
        if given[name]:
            # No shell expands a '~' behind ':='. As a str, 'model:=7' stays a path.
            values[name] = ParameterValue(os.path.expanduser(given[name]), value_type=str)
    if given['use_sim_time']:
        values['use_sim_time'] = _is_true(given['use_sim_time'])
    return [values] if values else []


def remaps(topic: str, params: Path, node: str) -> list[tuple[str, str]]:
    """Return the remaps for ``image_topic``; cameras with names keep their own topics."""
    cameras = [
        values.get('cameras')
        for section, values in params_files.values(params)
        if params_files.applies(section, node)
    ]
    if not topic and any(names not in (None, ['']) for names in cameras):
        return []
    topic = topic or CAMERA_TOPIC
    return [('image', topic), ('image/compressed', f'{topic}/compressed')]


def _is_true(value: str) -> bool:
    return value.lower() == 'true'


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds < math.inf:
        raise ValueError(f'{name}: {value!r} is not a number of seconds')
    return seconds


def _namespace(given: dict[str, str]) -> str:
    """
    Return the node's namespace in full, even if it is '/'.

    Then launch writes the overrides under the node's full name, else under '/**'. ROS applies the
    sections of all files in the order in which their names first appear: '/**' comes first in most
    files, and a section that names the node would win over overrides there.
    """
    outer, inner = given.get('ros_namespace', ''), given['namespace']
    path = inner if inner.startswith('/') else f'{outer}/{inner}'
    return '/' + '/'.join(part for part in path.split('/') if part)


def _params_file(given: dict[str, str]) -> Path:
    path = Path(given['params_file']).expanduser()
    if not path.is_file():  # launch itself would only warn, and run with other parameters
        raise FileNotFoundError(f'params_file: there is no file {path}')
    return path


def _logger(namespace: str, name: str) -> str:
    """Return the node's own logger: the whole process at debug would drown it in DDS."""
    return f'{namespace}/{name}'.replace('/', '.').strip('.')
