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
Classify what cameras see: image -> classification.

A lifecycle node. Configured, it holds a model and its publishers; active, it also holds the
subscriptions and one worker thread. A callback only puts its frame in the mailbox; the worker
takes the newest, so latency does not grow with load. A new model is loaded beside the running one,
in a thread of its own, and replaces it between two frames.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_srvs.srv import SetBool

from sqz_perception.nodes.camera import Camera, Frame, warn_of_useless_remap
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.clock import ClockWatch, steady
from sqz_perception.nodes.diagnostics import Diagnostics, camera_task, model_status, status
from sqz_perception.nodes.executor import OnceExecutor
from sqz_perception.nodes.lifecycle import CALLS, ManagedNode, logged
from sqz_perception.nodes.model_server import ModelServer, answer
from sqz_perception.nodes.parameters import Parameters
from sqz_perception.nodes.runner import run
from sqz_perception.nodes.update_link import UpdateLink
from sqz_perception.nodes.worker import Worker

STOP_WITHIN = 0.7  # seconds that the end of the process waits for a transition or the worker


class ClassifierNode(ManagedNode):
    """
    See the module's text.

    Callback groups keep long work from blocking the rest: frames, diagnostics, transitions, the
    model and, in the default group, what answers at once: parameters, ``~/enable``, states.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__('classifier', **options)
        self._configured = False
        self._ros_parameters = Parameters(
            self, ClassifierSettings, lambda: self._configured, self._on_settings
        )
        self._models = ModelServer(self, self._ros_parameters, self._frame_rate)
        self._updates = UpdateLink(
            self, lambda: self._settings, self._models, lambda: self._models.current is not None
        )
        self._models.updates = self._updates
        self._models.observers.append(self._updates)
        self._cameras: list[Camera] = []
        self._worker: Worker | None = None
        self._lock = threading.RLock()  # cameras and worker: transitions against diagnostics
        self._enabled = True
        self._frames_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics_group = MutuallyExclusiveCallbackGroup()
        self._clock_watch = ClockWatch(self)
        self._diagnostics = Diagnostics(self)
        self._reported = time.monotonic()
        self._timer = self.create_timer(
            self._settings.diagnostics_period,
            self._report,
            callback_group=self._diagnostics_group,
            clock=steady(),
        )
        for name, callback in (
            ('~/enable', self._on_enable),
            ('~/allow_updates', self._on_allow_updates),
        ):
            self.create_service(SetBool, name, callback, qos_profile=CALLS)

    def start(self) -> bool:
        return super().start() if self._settings.autostart else True

    @property
    def callback_groups(self) -> tuple[CallbackGroup, ...]:
        return (
            self.default_callback_group,
            self.transitions_group,
            self._frames_group,
            self._diagnostics_group,
            self._models.group,
            self._updates.group,
        )

    @property
    def _settings(self) -> ClassifierSettings:
        return self._ros_parameters.current

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Accept what ``Parameters.change`` accepts; all parameter services lead here."""
        return self._ros_parameters.change(parameter_list, super().set_parameters_atomically)

    def _on_settings(self, old: ClassifierSettings, new: ClassifierSettings) -> None:
        self._timer.timer_period_ns = round(new.diagnostics_period * 1e9)
        self._models.announce()

    # Lifecycle: what is taken in one transition is let go in its opposite.

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._configured = True
        transport = self._settings.transport
        try:
            self._models.configure()
            self._updates.start()
            for name in self._camera_names():
                self._cameras.append(Camera(self, name, transport, self._on_frame))
            warn_of_useless_remap(self, self._cameras)
        except Exception:
            self._release()
            raise
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        try:
            self._begin()
        except Exception:
            self._halt()
            super().on_deactivate(state)
            raise
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._halt()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self.on_shutdown(state)

    def stop(self) -> bool:
        """End all work for good, because the process ends; return whether all threads ended."""
        self.ending = True
        self._models.cancel()
        ended = self.end_transitions(STOP_WITHIN) and self._updates.stop(STOP_WITHIN)
        return self._halt(STOP_WITHIN) and ended and not self._models.loading

    def _begin(self) -> None:
        """Start the worker and let frames in."""
        self._worker = Worker(self, self._ros_parameters, self._models, self._clock_watch)
        qos = QoSProfile(
            depth=self._settings.depth,
            reliability=ReliabilityPolicy[self._settings.reliability.upper()],
        )
        for camera in self._cameras:
            camera.subscribe(qos, self._frames_group)
            self.get_logger().info(f'classifying {camera.topic}')
        self._models.announce()

    def _halt(self, seconds: float | None = None) -> bool:
        """
        Let no more frames in and end the worker after the frame it is busy with.

        Return whether it has ended, after ``seconds`` at most.
        """
        with self._lock:
            for camera in self._cameras:
                camera.unsubscribe()
            worker, self._worker = self._worker, None
        if worker is None:
            return True
        worker.close()
        return worker.join(seconds)

    def _release(self) -> None:
        with self._lock:
            for camera in self._cameras:
                camera.destroy()
            self._models.release()
            self._cameras, self._configured = [], False

    # Frames.

    def _on_frame(self, camera: Camera, message: Frame) -> None:
        worker = self._worker
        if worker and self._enabled and camera.due(self._settings.max_rate):
            worker.put(camera, message)

    def _frame_rate(self) -> float:
        """Return how many frames per second are to be classified; 0 where that is unknown."""
        highest = self._settings.max_rate or math.inf
        return sum(min(camera.statistics.rate(), highest) for camera in self._cameras)

    # Services.

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        return answer(response, True, 'enabled' if request.data else 'disabled')

    def _on_allow_updates(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._updates.allowed = request.data
        return answer(response, True, 'updates allowed' if request.data else 'updates held back')

    # What the node says of itself.

    def _report(self) -> None:
        now = time.monotonic()
        seconds, self._reported = now - self._reported, now
        models, worker = self._models, self._worker
        failure = worker.take_failure() if worker else None
        statuses = [
            model_status(models.current, models.swaps, models.trouble or failure),
            self._updates.report(),
            *self._camera_statuses(seconds, self._clock_watch.trouble()),
        ]
        self._diagnostics.publish(statuses, self._settings.use_fqn)

    def _camera_statuses(self, seconds: float, clock: str | None) -> list[DiagnosticStatus]:
        with self._lock:
            worker = self._worker
            if worker is None:  # the statuses stay, else diagnostic_aggregator reports STALE
                state = 'inactive' if self._configured else 'unconfigured'
                return [
                    status(DiagnosticStatus.OK, camera_task(name), state, {})
                    for name in self._camera_names()
                ]
            return [
                camera.reporter.report(
                    camera.view(
                        replaced=worker.replaced(camera),
                        silent_after=self._settings.silent_after,
                        enabled=self._enabled,
                        clock=clock,
                    ),
                    seconds,
                )
                for camera in self._cameras
            ]

    def _camera_names(self) -> list[str]:
        return list(dict.fromkeys(self._settings.cameras))  # each once, in their order


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the executable ``classifier_node``."""
    return run(ClassifierNode, lambda node: OnceExecutor(node.callback_groups), arguments)
