# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Classify what cameras see: image -> classification.

A lifecycle node. Configured, it holds a model and its publishers; active, it also holds the
subscriptions and one worker thread. A callback only puts its frame in the mailbox; the worker
takes the newest, so latency does not grow with load. A new model is built beside the running one,
in the thread of the service call, and swapped in between two frames.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, TypeAlias

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo, VisionInfo

from sqz_perception.errors import BackendError, FrameError, SqzError
from sqz_perception.inference import frames
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import Classifier, LoadedModel, Result, load
from sqz_perception.inference.mailbox import Mailbox
from sqz_perception.nodes import messages
from sqz_perception.nodes.annotate import annotate
from sqz_perception.nodes.camera import Camera, Frame
from sqz_perception.nodes.classifier_parameters import PARAMETERS
from sqz_perception.nodes.diagnostics import full_name, model_status
from sqz_perception.nodes.executor import OnceExecutor
from sqz_perception.nodes.lifecycle import told
from sqz_perception.nodes.parameters import Parameters
from sqz_perception.nodes.runner import run
from sqz_perception.resources import default_model

DIAGNOSTICS_PERIOD = 1.0  # seconds
LOG_THROTTLE = 10.0  # seconds between two log lines of one kind
PICTURE_SIDE = 640  # pixels: the longer side of an annotated picture is at most this
LATCHED = QoSProfile(
    depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE
)

Arrival: TypeAlias = tuple[Camera, Frame, float]  # the float: time.perf_counter() at receipt


class ClassifierNode(LifecycleNode):
    """See the module's text. Services share one callback group: one thing changes at a time."""

    def __init__(self, **options: Any) -> None:
        super().__init__('classifier', **options)
        self._configured = False
        self._settings = Parameters(self, PARAMETERS, lambda: self._configured)
        self._classifier: Classifier | None = None
        self._cameras: list[Camera] = []
        self._mailbox: Mailbox[Arrival] = Mailbox()
        self._worker: threading.Thread | None = None
        self._lock = threading.RLock()  # cameras and worker: transitions against diagnostics
        self._enabled = True
        self._trouble: str | None = None  # what the runtime last failed with
        self._frames_group = MutuallyExclusiveCallbackGroup()
        self._reported = time.monotonic()
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(
            DIAGNOSTICS_PERIOD, self._report, callback_group=MutuallyExclusiveCallbackGroup()
        )
        self.create_service(Trigger, 'update_model', self._on_update_model)
        self.create_service(Trigger, 'rollback_model', self._on_rollback_model)
        self.create_service(SetBool, '~/enable', self._on_enable)

    @property
    def autostart(self) -> bool:
        return self._settings['autostart']

    # Lifecycle: what is taken in one transition is let go in its opposite.

    @told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        classifier = Classifier(self._load_named_model())
        names = dict.fromkeys(self._settings['cameras'])  # each once, in their order
        transport = self._settings['transport']
        try:
            for name in names:
                self._cameras.append(Camera(self, name, transport, self._on_frame))
        except Exception:
            self._release()  # the cameras before the one that could not be
            raise
        self._vision_info = self.create_lifecycle_publisher(VisionInfo, 'vision_info', LATCHED)
        self._label_info = self.create_lifecycle_publisher(LabelInfo, 'label_info', LATCHED)
        self._classifier = classifier
        self._configured = True
        self._log_model('loaded', classifier.current)
        return TransitionCallbackReturn.SUCCESS

    @told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = super().on_activate(state)
        self._mailbox = Mailbox()
        self._worker = threading.Thread(target=self._work, args=(self._mailbox,), daemon=True)
        self._worker.start()
        qos = QoSProfile(
            depth=self._settings['depth'],
            reliability=ReliabilityPolicy[self._settings['reliability'].upper()],
        )
        for camera in self._cameras:
            camera.subscribe(qos, self._frames_group)
            self.get_logger().info(f'classifying {camera.topic}')
        self._announce()
        return result

    @told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        return super().on_deactivate(state)

    @told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @told
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def stop(self) -> None:
        """Let no more frames in and end the worker; what it was busy with is finished."""
        with self._lock:
            for camera in self._cameras:
                camera.unsubscribe()
            self._mailbox.close()
            if self._worker is not None:
                self._worker.join()
                self._worker = None

    def _release(self) -> None:
        with self._lock:
            for camera in self._cameras:
                camera.destroy()
            if self._configured:
                self.destroy_lifecycle_publisher(self._vision_info)
                self.destroy_lifecycle_publisher(self._label_info)
            self._cameras, self._classifier, self._configured = [], None, False

    # The frame path.

    def _on_frame(self, camera: Camera, message: Frame) -> None:
        if self._enabled and camera.due(self._settings['max_rate']):
            self._mailbox.put(camera.name, (camera, message, time.perf_counter()))

    def _work(self, mailbox: Mailbox[Arrival]) -> None:
        """Classify the newest frames until the mailbox is closed. Runs in the worker thread."""
        while (taken := mailbox.take()) is not None:
            camera, message, received = taken[1]
            try:
                self._classify(camera, message, received)
            except FrameError as error:
                camera.statistics.on_dropped(error.kind)
                self.get_logger().warning(
                    f'{camera.topic}: frame dropped: {error}', throttle_duration_sec=LOG_THROTTLE
                )
            except BackendError as error:
                camera.statistics.on_dropped('backend')
                self._trouble = str(error)
                self.get_logger().error(str(error), throttle_duration_sec=LOG_THROTTLE)
            except Exception as error:
                if not self.context.ok():
                    return  # shut down from outside: there is nobody left to publish to
                camera.statistics.on_dropped('internal')
                self.get_logger().error(
                    f'{camera.topic}: {type(error).__name__}: {error}; please report this',
                    throttle_duration_sec=LOG_THROTTLE,
                )

    def _classify(self, camera: Camera, message: Frame, received: float) -> None:
        assert self._classifier is not None  # the worker lives between activate and deactivate
        model = self._classifier.current  # asked once: a swap falls between two frames
        picture = frames.convert(message, model.input)
        converted = time.perf_counter()
        results = model.classify(picture, self._settings['top_k'], self._settings['threshold'])
        inferred = time.perf_counter()
        camera.publish(messages.classification(message.header, results))
        done = time.perf_counter()
        self._trouble = None
        own_cost = (converted - received) + (done - inferred)
        latency = self._age(message)
        camera.statistics.on_classified(own_cost * 1e3, (inferred - converted) * 1e3, latency)
        if latency is not None and latency > 1e3 * self._settings['stale_after']:
            camera.statistics.on_stale()
        if camera.watched:
            self._publish_picture(camera, message, results, model)

    def _age(self, message: Frame) -> float | None:
        """Return the milliseconds since the header's stamp; None where there is no stamp."""
        stamp = message.header.stamp
        if stamp.sec == 0 and stamp.nanosec == 0:
            return None
        return (self.get_clock().now() - Time.from_msg(stamp)).nanoseconds / 1e6

    def _publish_picture(
        self, camera: Camera, message: Frame, results: list[Result], model: LoadedModel
    ) -> None:
        picture = frames.overview(message, PICTURE_SIDE)
        drawn = annotate(picture, results, f'{model.name} release {model.release}')
        camera.publish_picture(messages.image(message.header, drawn))

    # Services.

    def _on_update_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._classifier is None:
            return _answer(response, False, 'not configured: configure the node first')
        old = self._classifier.current
        try:
            new = self._load_named_model()
        except SqzError as error:
            self.get_logger().error(f'update_model: {error}; still serving {old}')
            return _answer(response, False, f'{error}; still serving {old}')
        self._classifier.swap(new)
        return self._swapped(response, old, new)

    def _on_rollback_model(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        if self._classifier is None:
            return _answer(response, False, 'not configured: configure the node first')
        old = self._classifier.current
        try:
            new = self._classifier.rollback()
        except SqzError as error:
            return _answer(response, False, f'{error}; still serving {old}')
        return self._swapped(response, old, new)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        return _answer(response, True, 'enabled' if request.data else 'disabled')

    def _swapped(
        self, response: Trigger.Response, old: LoadedModel, new: LoadedModel
    ) -> Trigger.Response:
        self._trouble = None
        self._announce()
        self._log_model('now serving', new)
        return _answer(response, True, f'{old} -> {new}')

    def _load_named_model(self) -> LoadedModel:
        """Load what ``model`` names: verified, compiled, tested and warm. Raises SqzError."""
        runtime = Runtime(
            self._settings['backend'], self._settings['precision'], self._settings['threads']
        )
        path = self._settings['model']
        return load(Path(path).expanduser() if path else default_model(), runtime)

    # What the node says of itself.

    def _announce(self) -> None:
        """Publish the model's identity and labels, latched."""
        assert self._classifier is not None
        stamp = self.get_clock().now().to_msg()
        model, version = self._classifier.current, self._classifier.swaps + 1
        self._vision_info.publish(messages.vision_info(stamp, model, version))
        self._label_info.publish(messages.label_info(stamp, model, self._settings['threshold']))

    def _log_model(self, verb: str, model: LoadedModel) -> None:
        self.get_logger().info(f'{verb} {model} on {model.backend.description} ({model.why})')

    def _report(self) -> None:
        now = time.monotonic()
        seconds, self._reported = now - self._reported, now
        classifier = self._classifier
        statuses = [
            model_status(
                f'{full_name(self)}: model',
                classifier.current if classifier else None,
                classifier.swaps if classifier else 0,
                self._trouble,
            )
        ]
        statuses += self._camera_statuses(seconds)
        array = DiagnosticArray(status=statuses)
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _camera_statuses(self, seconds: float) -> list[DiagnosticStatus]:
        with self._lock:
            if self._worker is None:
                return []
            silent_after = self._settings['silent_after']
            return [
                camera.reporter.report(
                    camera.view(self._mailbox.replaced(camera.name), silent_after, self._enabled),
                    seconds,
                )
                for camera in self._cameras
            ]


def _answer(response: Any, success: bool, message: str) -> Any:
    response.success, response.message = success, message
    return response


def create() -> ClassifierNode:
    """Return the node, active unless ``autostart`` is false. Exits where it can't be."""
    node = ClassifierNode()
    if not node.autostart:
        return node
    for transition in (node.trigger_configure, node.trigger_activate):
        if transition() != TransitionCallbackReturn.SUCCESS:
            raise SystemExit(1)  # the transition has logged why
    return node


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the executable ``classifier_node``."""
    # Three threads: frames, diagnostics, and one for all that changes something.
    return run(create, lambda: OnceExecutor(num_threads=3), arguments)
