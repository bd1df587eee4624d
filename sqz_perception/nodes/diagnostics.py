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
The statuses in /diagnostics, by the conventions of diagnostic_updater.

A status is named "<node>: <task>". With the parameter diagnostic_updater.use_fqn the node's name
is complete: "/robot1/classifier: camera front".
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from sqz_perception.inference.classifier import LoadedModel
from sqz_perception.nodes.messages import text

HARDWARE = socket.gethostname() or 'none'


class Diagnostics:
    """The publisher of a node's statuses; logs each that becomes an error."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._errors: set[str] = set()  # tasks whose last status was an error

    def publish(self, statuses: Sequence[DiagnosticStatus], use_fqn: bool) -> None:
        """Publish ``statuses``, each still named after its task alone."""
        self._log(statuses)
        node = self._node
        name = node.get_fully_qualified_name() if use_fqn else node.get_name()
        for each in statuses:
            each.name, each.hardware_id = f'{name}: {each.name}', HARDWARE
        array = DiagnosticArray(status=statuses)
        array.header.stamp = node.get_clock().now().to_msg()
        self._publisher.publish(array)

    def _log(self, statuses: Sequence[DiagnosticStatus]) -> None:
        errors = {each.name: each for each in statuses if each.level == DiagnosticStatus.ERROR}
        for name in errors.keys() - self._errors:
            self._node.get_logger().warning(f'{name}: {errors[name].message}')
        self._errors = set(errors)


def model_status(model: LoadedModel | None, swaps: int, trouble: str | None) -> DiagnosticStatus:
    """Return the model's status; ``trouble`` is what the runtime last failed with, or None."""
    if model is None:
        return status(DiagnosticStatus.WARN, 'model', 'not configured: no model is loaded', {})
    values = {
        'model': model.name,
        'release': model.release,
        'identity': model.identity,
        'file': model.path,
        'runtime': model.backend.description,
        'why': model.why,
        'swaps': swaps,
    }
    if trouble:
        return status(DiagnosticStatus.ERROR, 'model', trouble, values)
    return status(DiagnosticStatus.OK, 'model', f'{model} on {model.backend.description}', values)


def camera_task(name: str) -> str:
    """Return the task of a camera's status; '' is the name of the only camera."""
    return f'camera {name}'.rstrip()


def status(level: bytes, task: str, message: str, values: dict[str, object]) -> DiagnosticStatus:
    """Return a status with ``values`` as its keys and values."""
    pairs = [KeyValue(key=key, value=text(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=task, message=text(message), values=pairs)
