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
"""Real ROS 2 for the tests in this folder: a domain of their own, a client, nodes in processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2: source a distribution, or make setup')

import domain_coordinator  # noqa: E402

from ros_support import Client, Process, running  # noqa: E402
from sqz_perception.model import file  # noqa: E402
from tiny import tiny_model  # noqa: E402

Start = Callable[..., Process]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith('test/nodes/'):
            item.add_marker(pytest.mark.ros)


@pytest.fixture
def domain() -> Iterator[int]:
    """Return a ROS_DOMAIN_ID that no other test uses now."""
    with domain_coordinator.domain_id() as number:
        yield int(number)


@pytest.fixture
def client(domain: int) -> Iterator[Client]:
    client = Client(domain)
    yield client
    client.close()


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Two models whose winners differ whatever the picture: 'bucket', and then 'robot'."""
    paths = {name: tmp_path / f'{name}.sqz' for name in ('one', 'two')}
    file.write(tiny_model(1, bias=50.0, dtype=np.int8), paths['one'])
    labels = ('robot', 'charger', 'dock', 'person')
    file.write(tiny_model(2, bias=50.0, release=2, side=32, labels=labels), paths['two'])
    return paths


@pytest.fixture
def start(domain: int, tmp_path: Path) -> Iterator[Start]:
    """Start a node, by name and parameters; it is ended after the test."""
    with ExitStack() as stack:
        count = 0

        def start_node(node: str, remaps: list[str] | None = None, **parameters: Any) -> Process:
            nonlocal count
            count += 1
            log = tmp_path / f'{Path(node).stem}{count}.log'
            return stack.enter_context(running(node, domain, log, remaps or [], **parameters))

        yield start_node


@pytest.fixture
def classifier(start: Start, models: dict[str, Path]) -> Process:
    """Return an active classifier node with the model 'one'."""
    process = start('classifier_node', model=models['one'])
    process.wait_for('classifying')
    return process
