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
The launch files, run by launch itself.

In place of a node it starts a program that leaves word how it was started; a real rclpy node that
is started the same way then tells what its parameters and its topics are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sqz_perception.resources import PROFILE_VARIABLES, share

pytest.importorskip('rclpy', reason='rclpy comes with ROS 2')
if importlib.util.find_spec('launch_ros') is None:
    # Not launch itself: to Python the folder of that name here is a package too.
    pytest.skip(
        'launch and launch_ros come with a ROS distribution, not from PyPI',
        allow_module_level=True,
    )

from sqz_perception.nodes.classifier_parameters import PARAMETERS
from sqz_perception.nodes.image_source_node import PARAMETERS as SOURCE_PARAMETERS

pytestmark = pytest.mark.ros

PROFILE = share() / 'config/fastdds.xml'
# The end of the source ends the demo, so its stand-in waits for the word of the other.
STAND_IN = """#!{python}
import json, os, sys, time
from pathlib import Path
folder, name = Path({folder!r}), Path(sys.argv[0]).name
word = {{'arguments': sys.argv, 'environment': dict(os.environ)}}
(folder / (name + '.part')).write_text(json.dumps(word))
(folder / (name + '.part')).rename(folder / (name + '.json'))
deadline = time.monotonic() + 10
while not (folder / 'classifier_node.json').exists() and time.monotonic() < deadline:
    time.sleep(0.01)
try:
    codes = (folder / (name + '.exits')).read_text().split()
except FileNotFoundError:
    sys.exit(0)
(folder / (name + '.exits')).write_text(' '.join(codes[1:]))
if codes[0] == 'stay':
    (folder / (name + '.pid')).write_text(str(os.getpid()))
    try:
        time.sleep(30)
    except KeyboardInterrupt:
        (folder / (name + '.ended')).touch()
        sys.exit(0)
sys.exit(int(codes[0]))
"""
NODES = ('classifier_node', 'image_source_node')
MINE = {
    'backend': 'onnxruntime',
    'transport': 'compressed',
    'model': '/robot/own.sqz',
    'use_sim_time': True,
    'top_k': 3,
}

Started = dict[str, dict[str, Any]]
Launch = Callable[..., Started]


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Return a function that launches a file and tells how each node was started."""
    prefix = tmp_path / 'prefix'
    index = prefix / 'share/ament_index/resource_index/packages'
    programs = prefix / 'lib/sqz_perception'
    for folder in (index, programs):
        folder.mkdir(parents=True)
    (index / 'sqz_perception').touch()
    for node in NODES:
        program = programs / node
        program.write_text(STAND_IN.format(python=sys.executable, folder=str(tmp_path)))
        program.chmod(0o755)
    others = os.environ.get('AMENT_PREFIX_PATH', '')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{prefix}:{others}')
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    for name in PROFILE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(file: str, *given: str, inside: str = '') -> Started:
        for word in tmp_path.glob('*.json'):  # of a launch before
            word.unlink()
        assert run_launch(file, given, inside) == 0
        return {
            node: json.loads((tmp_path / f'{node}.json').read_text())
            for node in NODES
            if (tmp_path / f'{node}.json').exists()
        }

    return run


def run_launch(file: str, given: tuple[str, ...], inside: str = '') -> int:
    """Launch a file of the package, ``inside`` a pushed namespace if one is named."""
    from launch import LaunchDescription, LaunchService
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource
    from launch_ros.actions import PushRosNamespace

    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share() / 'launch' / file)),
        launch_arguments=[tuple(pair.split(':=', 1)) for pair in given],
    )
    pushed = [PushRosNamespace(inside)] if inside else []
    service = LaunchService(noninteractive=True)  # hands SIGINT on to the nodes
    service.include_launch_description(LaunchDescription([*pushed, include]))
    return service.run()


@contextmanager
def node_of(started: dict[str, Any]) -> Iterator[Any]:
    """Give a real node that is started like this."""
    rclpy = pytest.importorskip('rclpy', reason='rclpy comes with ROS 2')
    context = rclpy.Context()
    rclpy.init(args=started['arguments'], context=context)
    node = rclpy.create_node('replaced', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def values_of(started: dict[str, Any], declared: Iterable[Any]) -> dict[str, Any]:
    """Return the parameters that a node has when it is started like this."""
    with node_of(started) as node:
        for parameter in declared:
            node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())
        names = [parameter.name for parameter in declared] + ['use_sim_time']
        return {name: node.get_parameter(name).value for name in names}


def topic_of(started: dict[str, Any], name: str) -> str:
    """Return the full name that a topic of the node has when it is started like this."""
    with node_of(started) as node:
        return node.resolve_topic_name(name)


def arguments_of(file: str) -> dict[str, Any]:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    path = str(share() / 'launch' / file)
    declared_here = get_launch_description_from_python_launch_file(path).get_launch_arguments()
    return {argument.name: argument for argument in declared_here}


def test_every_argument_is_described() -> None:
    classify = arguments_of('classify.launch.py')
    assert set(classify) == {
        'image_topic', 'transport', 'model', 'namespace', 'params_file', 'backend', 'log_level',
        'use_sim_time', 'use_respawn', 'respawn_delay',
    }  # fmt: skip
    demo = arguments_of('demo.launch.py')
    assert set(demo) == {'source', 'rate', 'loop', *classify}
    for argument in demo.values():
        assert len(argument.description) > 10, argument.name


def test_the_choices_of_an_argument_are_those_of_the_parameter() -> None:
    declared = {parameter.name: parameter for parameter in PARAMETERS}
    for name in ('backend', 'transport'):
        choices = arguments_of('classify.launch.py')[name].choices
        assert choices == ['', *declared[name].within]


def test_what_is_not_given_stays_as_in_the_file(launch: Launch, tmp_path: Path) -> None:
    started = launch('classify.launch.py')['classifier_node']
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    assert values_of(started, PARAMETERS) == {**defaults, 'use_sim_time': False}

    mine = write_parameters(tmp_path, '/**')
    started = launch('classify.launch.py', f'params_file:={mine}')['classifier_node']
    assert values_of(started, PARAMETERS) == {**defaults, **MINE}


@pytest.mark.parametrize('sections', ['/**', 'classifier', '/**/classifier', '/** classifier'])
def test_what_is_given_beats_the_file(launch: Launch, tmp_path: Path, sections: str) -> None:
    mine = write_parameters(tmp_path, *sections.split())
    given = ('backend:=openvino', 'transport:=raw', 'use_sim_time:=false', 'model:=/robot/a.sqz')
    started = launch('classify.launch.py', f'params_file:={mine}', *given)['classifier_node']
    values = values_of(started, PARAMETERS)
    expected = {
        'backend': 'openvino',
        'transport': 'raw',
        'use_sim_time': False,
        'model': '/robot/a.sqz',
        'top_k': 3,
    }
    assert {name: values[name] for name in expected} == expected


def test_what_is_given_beats_the_file_in_a_namespace(launch: Launch, tmp_path: Path) -> None:
    mine = write_parameters(tmp_path, '/fleet/robot1/classifier')
    given = (f'params_file:={mine}', 'namespace:=robot1', 'backend:=openvino')
    started = launch('classify.launch.py', *given, inside='fleet')['classifier_node']
    values = values_of(started, PARAMETERS)
    assert [values['backend'], values['transport']] == ['openvino', 'compressed']
    assert topic_of(started, 'classification') == '/fleet/robot1/classification'
    assert 'fleet.robot1.classifier:=info' in started['arguments']


@pytest.mark.parametrize(
    ('inside', 'namespace', 'logger'),
    [
        ('', '', 'classifier'),
        ('', '/', 'classifier'),
        ('', 'robot1/', 'robot1.classifier'),
        ('fleet', '', 'fleet.classifier'),
        ('/fleet', 'robot1', 'fleet.robot1.classifier'),
        ('fleet', '/robot1', 'robot1.classifier'),
    ],
)
def test_the_log_level_is_that_of_the_node(
    launch: Launch, inside: str, namespace: str, logger: str
) -> None:
    from rclpy.logging import LoggingSeverity

    given = ('log_level:=debug', f'namespace:={namespace}')
    started = launch('classify.launch.py', *given, inside=inside)['classifier_node']
    with node_of(started) as node:
        assert node.get_logger().name == logger
        assert node.get_logger().get_effective_level() == LoggingSeverity.DEBUG


def write_parameters(folder: Path, *sections: str) -> Path:
    path = folder / 'mine.yaml'
    content = {section: {'ros__parameters': MINE} for section in sections}
    path.write_text(json.dumps(content))  # JSON is YAML too
    return path


def test_topics_and_namespace(launch: Launch) -> None:
    started = launch('classify.launch.py')['classifier_node']
    assert topic_of(started, 'image') == '/camera/image_raw'
    assert topic_of(started, 'image/compressed') == '/camera/image_raw/compressed'
    assert topic_of(started, 'classification') == '/classification'

    given = ('namespace:=robot1', 'image_topic:=front/image_raw')
    started = launch('classify.launch.py', *given)['classifier_node']
    assert topic_of(started, 'image') == '/robot1/front/image_raw'
    assert topic_of(started, 'classification') == '/robot1/classification'


def test_named_cameras_keep_their_topics(launch: Launch, tmp_path: Path) -> None:
    mine = tmp_path / 'named.yaml'
    mine.write_text('/**/classifier: {ros__parameters: {cameras: [front]}}')
    started = launch('classify.launch.py', f'params_file:={mine}')['classifier_node']
    assert topic_of(started, 'image') == '/image'  # no remap that has no effect
    given = (f'params_file:={mine}', 'image_topic:=/cam')
    started = launch('classify.launch.py', *given)['classifier_node']
    assert topic_of(started, 'image') == '/cam'  # of which the node warns
    mine.write_text('/**/other: {ros__parameters: {cameras: [front]}}')
    started = launch('classify.launch.py', f'params_file:={mine}')['classifier_node']
    assert topic_of(started, 'image') == '/camera/image_raw'


def test_the_node_gets_the_transport_profile(launch: Launch) -> None:
    environment = launch('classify.launch.py')['classifier_node']['environment']
    assert [environment[name] for name in PROFILE_VARIABLES] == [str(PROFILE)] * 2


def test_a_profile_of_the_users_own_is_handed_on(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = PROFILE_VARIABLES
    monkeypatch.setenv(own, '/home/robot/own.xml')
    for started in launch('demo.launch.py').values():
        assert started['environment'][own] == '/home/robot/own.xml'
        assert other not in started['environment']


def test_source_and_classifier_of_the_demo_meet(launch: Launch) -> None:
    given = ('image_topic:=pictures', 'transport:=compressed', 'namespace:=robot1', 'rate:=7')
    started = launch('demo.launch.py', *given, 'source:=3', 'loop:=false')
    topics = [topic_of(started[node], 'image/compressed') for node in NODES]
    assert topics == ['/robot1/pictures/compressed'] * 2
    classifier = values_of(started['classifier_node'], PARAMETERS)
    assert classifier['transport'] == 'compressed'
    source = values_of(started['image_source_node'], SOURCE_PARAMETERS)
    names = ('source', 'rate', 'loop', 'transport')
    assert [source[name] for name in names] == ['3', 7.0, False, 'compressed']


@pytest.mark.parametrize(
    'file, given',
    [
        ('classify.launch.py', 'params_file:=/nowhere.yaml'),
        ('classify.launch.py', 'transport:=theora'),
        ('classify.launch.py', 'use_respawn:=perhaps'),
        ('classify.launch.py', 'respawn_delay:=soon'),
        ('demo.launch.py', 'respawn_delay:=-1'),
        ('demo.launch.py', 'rate:=fast'),
        ('demo.launch.py', 'params_file:=/nowhere.yaml'),
    ],
)
def test_a_wrong_argument_starts_nothing(
    launch: Launch, tmp_path: Path, file: str, given: str
) -> None:
    assert run_launch(file, (given,)) == 1
    assert not list(tmp_path.glob('*.json'))


# The end of a node.


def exits(folder: Path, node: str, *codes: int | str) -> None:
    """Set the exit codes of a node's stand-in, one for each start; 'stay': it waits for SIGINT."""
    (folder / f'{node}.exits').write_text(' '.join(map(str, codes)))


@pytest.mark.parametrize('node', NODES)
def test_a_node_that_fails_ends_the_launch_with_a_failure(
    launch: Launch, tmp_path: Path, node: str
) -> None:
    (other,) = set(NODES) - {node}
    exits(tmp_path, node, 3)
    exits(tmp_path, other, 'stay')
    assert run_launch('demo.launch.py', ()) == 1
    # Its stand-in may have been interrupted before it could write anything.
    assert not (tmp_path / f'{other}.pid').exists() or (tmp_path / f'{other}.ended').exists()


def test_a_node_that_ends_well_ends_the_launch_well(launch: Launch, tmp_path: Path) -> None:
    exits(tmp_path, 'classifier_node', 0)
    assert run_launch('classify.launch.py', ()) == 0


def test_a_node_that_is_started_again_does_not_end_the_launch(
    launch: Launch, tmp_path: Path
) -> None:
    exits(tmp_path, 'classifier_node', 3, 0, 4, 'stay')

    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while not (tmp_path / 'classifier_node.pid').exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C does to launch

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    assert run_launch('classify.launch.py', ('use_respawn:=True', 'respawn_delay:=0')) == 0
    waiting.join()
    assert (tmp_path / 'classifier_node.ended').exists()
    assert (tmp_path / 'classifier_node.exits').read_text() == ''
