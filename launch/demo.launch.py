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
Start a source of pictures and the classifier: ros2 launch sqz_perception demo.launch.py source:=0.

The arguments of classify.launch.py work here too.
"""

from __future__ import annotations

import os
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from sqz_perception.resources import CAMERA_TOPIC, transport_profile

CLASSIFY = str(Path(__file__).with_name('classify.launch.py'))

ARGUMENTS = (
    DeclareLaunchArgument(
        'source',
        default_value='0',
        description='Webcam index, or the path of a video, a picture, a folder or a zip',
    ),
    DeclareLaunchArgument('rate', default_value='30.0', description='Pictures a second'),
    DeclareLaunchArgument(
        'loop',
        default_value='true',
        choices=['true', 'false'],
        description='Begin again at the end; false: end the demo there',
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Return what ``ros2 launch`` starts."""
    classify = IncludeLaunchDescription(PythonLaunchDescriptionSource(CLASSIFY))
    # The include comes before the source: it declares the arguments that both share.
    return LaunchDescription(
        [
            *ARGUMENTS,
            OpaqueFunction(function=check_rate),
            classify,
            OpaqueFunction(function=start_source),
        ]
    )


def check_rate(context: LaunchContext) -> None:
    """Refuse a wrong rate while nothing runs: after an error launch leaves processes behind."""
    rate = context.launch_configurations['rate']
    try:
        float(rate)
    except ValueError:
        raise ValueError(f'rate: {rate!r} is not a number') from None


def start_source(context: LaunchContext) -> list[Node]:
    """Return the source, which publishes what the classifier was told to subscribe to."""
    given = context.launch_configurations
    topic = given['image_topic'] or CAMERA_TOPIC
    parameters = {
        'source': ParameterValue(os.path.expanduser(given['source']), value_type=str),
        'rate': float(given['rate']),  # '10' is a rate too
        'loop': given['loop'] == 'true',
        'transport': ParameterValue(given['transport'] or 'raw', value_type=str),
    }
    return [
        Node(
            package='sqz_perception',
            executable='image_source_node',
            name='image_source',
            namespace=given['namespace'],
            parameters=[parameters],
            remappings=[('image', topic), ('image/compressed', f'{topic}/compressed')],
            additional_env=transport_profile(context.environment),
            output='screen',
            on_exit=end_with_source,
        )
    ]


def end_with_source(event: ProcessExited, context: LaunchContext) -> Shutdown:
    """End the demo when the pictures end, or with exit code 1 if the source has failed."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f'{event.process_name} failed with exit code {event.returncode}')
    return Shutdown(reason='there are no more pictures')
