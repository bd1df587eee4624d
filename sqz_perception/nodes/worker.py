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
"""The frame path: one thread that takes the newest frame of each camera and classifies it."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from sqz_perception.errors import BackendError, FrameError
from sqz_perception.inference import frames
from sqz_perception.inference.classifier import LoadedModel, Result
from sqz_perception.inference.mailbox import Mailbox
from sqz_perception.nodes import messages
from sqz_perception.nodes.annotate import annotate
from sqz_perception.nodes.camera import Camera, Frame
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.clock import ClockWatch
from sqz_perception.nodes.model_server import ModelServer
from sqz_perception.nodes.parameters import Parameters

LOG_THROTTLE = 10.0  # seconds between two log lines of one kind
PICTURE_SIDE = 640  # pixels: the longer side of an annotated picture is at most this


class Worker:
    """
    A thread that classifies until ``stop``.

    For each frame it asks once for the settings and once for the model, so both change between
    two frames. Whatever is wrong with a frame, the thread goes on with the next.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters[ClassifierSettings],
        models: ModelServer,
        clock: ClockWatch,
    ) -> None:
        self._node, self._parameters, self._models, self._clock = node, parameters, models, clock
        self._mailbox: Mailbox[tuple[Camera, Frame, float]] = Mailbox()
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, camera: Camera, message: Frame) -> None:
        """Offer a frame; it replaces an older one of the same camera. Never blocks."""
        self._mailbox.put(camera.name, (camera, message, time.perf_counter()))

    def replaced(self, camera: Camera) -> int:
        """Return how many of the camera's frames were replaced by newer ones so far."""
        return self._mailbox.replaced(camera.name)

    def take_failure(self) -> str | None:
        """Return what the runtime failed with since the last call, or None."""
        failure, self._failure = self._failure, None
        return failure

    def close(self) -> None:
        """Accept no more frames, and end after the one that is being classified."""
        self._mailbox.close()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end, for ``seconds`` at most; return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        log = self._node.get_logger()
        while (taken := self._mailbox.take()) is not None:
            camera, message, received = taken[1]
            try:
                self._classify(camera, message, received)
            except FrameError as error:
                camera.statistics.on_dropped(error.kind)
                log.warning(
                    f'{camera.topic}: frame dropped: {error}', throttle_duration_sec=LOG_THROTTLE
                )
            except BackendError as error:
                camera.statistics.on_dropped('backend')
                self._failure = str(error)
                log.error(str(error), throttle_duration_sec=LOG_THROTTLE)
            except Exception as error:
                if not self._node.context.ok():
                    return  # shut down from outside: there is nobody left to publish to
                camera.statistics.on_dropped('internal')
                log.error(
                    f'{camera.topic}: {type(error).__name__}: {error}; please report this',
                    throttle_duration_sec=LOG_THROTTLE,
                )

    def _classify(self, camera: Camera, message: Frame, received: float) -> None:
        model, settings = self._models.current, self._parameters.current
        assert model is not None  # the worker lives between activate and deactivate
        picture = frames.convert(message, model.input, settings.max_pixels)
        converted = time.perf_counter()
        results = self._infer(model, picture, settings)
        inferred = time.perf_counter()
        camera.publish(messages.classification(message.header, results, settings.class_id))
        own_cost = (converted - received) + (time.perf_counter() - inferred)
        milliseconds = (inferred - converted) * 1e3
        camera.statistics.on_classified(own_cost * 1e3, milliseconds)
        try:
            self._models.on_result(model, milliseconds)
            self._note_age(camera, message, settings)
            self._publish_picture(camera, message, results, model, settings)
        except Exception as error:  # the frame is classified all the same
            if self._node.context.ok():
                self._node.get_logger().warning(
                    f'{camera.topic}: after the result: {type(error).__name__}: {error}',
                    throttle_duration_sec=LOG_THROTTLE,
                )

    def _infer(
        self, model: LoadedModel, picture: NDArray[np.uint8], settings: ClassifierSettings
    ) -> list[Result]:
        try:
            return model.classify(picture, settings.top_k, settings.threshold)
        except BackendError as error:
            self._models.on_error(model, error)
            raise

    def _note_age(self, camera: Camera, message: Frame, settings: ClassifierSettings) -> None:
        age = self._clock.age(message.header.stamp)
        if age is not None:
            camera.statistics.on_age(age, settings.stale_after)

    def _publish_picture(
        self,
        camera: Camera,
        message: Frame,
        results: list[Result],
        model: LoadedModel,
        settings: ClassifierSettings,
    ) -> None:
        """Publish the annotated picture, if somebody listens."""
        if not camera.watched:
            return
        picture = frames.overview(message, PICTURE_SIDE, settings.max_pixels)
        drawn = annotate(picture, results, f'{model.name} release {model.release}')
        camera.publish_picture(messages.image(message.header, drawn))
