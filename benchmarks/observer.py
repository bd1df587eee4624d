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
Whoever waits for the classifications, in a process of its own; it can also ask for a swap.

Prints 'ready' once it listens and, when it ends (Ctrl-C, or --first), one line of JSON:
{"received": [[the frame's stamp, when it came], ...], both in ns of the system's clock,
"diagnostics": the last values of a camera's status, "swaps": [[begun, ended], ...] in ns}.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger
from vision_msgs.msg import Classification

MARK = 'own_cost_p50_ms'  # a value that only a camera's status has
QOS = QoSProfile(depth=100)


class Observer(Node):
    """Keeps what the module's text lists. ``models`` are swapped in one by one."""

    def __init__(self, first: bool, models: list[str], every: float) -> None:
        super().__init__('observer')
        self.seen: dict[str, Any] = {'received': [], 'diagnostics': {}, 'swaps': []}
        self._first = first
        self._models = models
        self.create_subscription(Classification, 'classification', self._on_result, QOS)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        if models:
            self._set = self.create_client(SetParameters, 'classifier/set_parameters')
            self._update = self.create_client(Trigger, 'update_model')
            self.create_timer(every, self._swap)

    def _on_result(self, message: Classification) -> None:
        now = time.time_ns()
        stamp = message.header.stamp
        self.seen['received'].append((stamp.sec * 10**9 + stamp.nanosec, now))
        if self._first:
            raise ExternalShutdownException

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if MARK in values:
                self.seen['diagnostics'] = values

    def _swap(self) -> None:
        if not self._models or not self.seen['received']:
            return
        change = Parameter('model', value=self._models.pop(0)).to_parameter_msg()
        request = SetParameters.Request(parameters=[change])
        self._set.call_async(request).add_done_callback(self._update_model)

    def _update_model(self, _: Any) -> None:
        begun = time.time_ns()

        def done(future: Any) -> None:
            answer = future.result()
            if not answer.success:
                raise RuntimeError(answer.message)
            self.seen['swaps'].append((begun, time.time_ns()))

        self._update.call_async(Trigger.Request()).add_done_callback(done)


def main() -> None:
    """Observe until Ctrl-C, or as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--first', action='store_true', help='end with the first classification')
    parser.add_argument('--swap', nargs='*', default=[], metavar='MODEL.sqz')
    parser.add_argument('--every', type=float, default=5.0, help='seconds between two swaps')
    options = parser.parse_args()
    rclpy.init(args=[])
    node = Observer(options.first, options.swap, options.every)
    print('ready', flush=True)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    print(json.dumps(node.seen), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
