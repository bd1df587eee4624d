# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which model the node uses: load it, announce it, replace it, roll it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger
from vision_msgs.msg import LabelInfo, VisionInfo

from sqz_perception.errors import SqzError
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import Classifier, LoadedModel, load
from sqz_perception.nodes import messages
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.latched import Latched
from sqz_perception.nodes.parameters import Parameters
from sqz_perception.resources import default_model


class ModelServer:
    """
    The model of a classifier node, from configure to cleanup, with the services that change it.

    The worker asks for ``current`` once per frame and reports each outcome with ``on_result`` or
    ``on_error``. ``trouble`` is the error of the last frame, None after a success.
    """

    def __init__(self, node: LifecycleNode, settings: Parameters[ClassifierSettings]) -> None:
        self._node = node
        self._settings = settings
        self._classifier: Classifier | None = None
        self.trouble: str | None = None
        node.create_service(Trigger, 'update_model', self._on_update_model)
        node.create_service(Trigger, 'rollback_model', self._on_rollback_model)

    @property
    def current(self) -> LoadedModel | None:
        """The model in use; None while the node is not configured."""
        classifier = self._classifier
        return classifier.current if classifier else None

    @property
    def swaps(self) -> int:
        classifier = self._classifier
        return classifier.swaps if classifier else 0

    def configure(self) -> None:
        """Load the model that the parameters name and create the publishers. Raises SqzError."""
        classifier = Classifier(self._load())
        self._vision_info = Latched(self._node, VisionInfo, 'vision_info')
        self._label_info = Latched(self._node, LabelInfo, 'label_info')
        self._classifier = classifier
        self._log('loaded', classifier.current)

    def release(self) -> None:
        """Undo ``configure``, if it was called."""
        if self._classifier is None:
            return
        self._vision_info.destroy()
        self._label_info.destroy()
        self._classifier = None

    def announce(self) -> None:
        """Publish what changed of the model's identity and labels, if there is a model."""
        if self._classifier is None:
            return
        model, version = self._classifier.current, self._classifier.swaps + 1
        self._vision_info.update(messages.vision_info(model, version))
        self._label_info.update(messages.label_info(model, self._settings['threshold']))

    def on_result(self, model: LoadedModel, milliseconds: float) -> None:
        """Record that ``model`` classified a frame, in ``milliseconds``."""
        self.trouble = None

    def on_error(self, model: LoadedModel, error: Exception) -> None:
        """Record that the runtime of ``model`` failed on a frame."""
        self.trouble = str(error)

    def _on_update_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._change(response, lambda classifier: classifier.swap(self._load()))

    def _on_rollback_model(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return self._change(response, Classifier.rollback)

    def _change(
        self, response: Trigger.Response, change: Callable[[Classifier], LoadedModel]
    ) -> Trigger.Response:
        """Answer a service that replaces the model; ``change`` returns the one it replaced."""
        classifier = self._classifier
        if classifier is None:
            return answer(response, False, 'not configured: configure the node first')
        try:
            old = change(classifier)
        except SqzError as error:
            text = f'{error}; still serving {classifier.current}'
            self._node.get_logger().error(text)
            return answer(response, False, text)
        self.trouble = None
        self.announce()
        self._log('now serving', classifier.current)
        return answer(response, True, f'{old} -> {classifier.current}')

    def _load(self) -> LoadedModel:
        """Load what ``model`` names: verified, compiled, tested and warm. Raises SqzError."""
        runtime = Runtime(
            self._settings['backend'], self._settings['precision'], self._settings['threads']
        )
        path = self._settings['model']
        return load(Path(path).expanduser() if path else default_model(), runtime)

    def _log(self, verb: str, model: LoadedModel) -> None:
        self._node.get_logger().info(
            f'{verb} {model} on {model.backend.description} ({model.why})'
        )


def answer(response: Any, success: bool, message: str) -> Any:
    """Return ``response``, a Trigger's or SetBool's, filled in."""
    response.success, response.message = success, message
    return response
