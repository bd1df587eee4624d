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
"""Which model the node uses: load it, announce it, replace it, roll it back."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger
from vision_msgs.msg import LabelInfo, VisionInfo

from sqz_perception.errors import (
    LoadCancelled,
    ModelNotFound,
    SqzError,
    SwapRefused,
    UpdateError,
)
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import Classifier, LoadedModel
from sqz_perception.nodes import messages
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.executor import PairGroup
from sqz_perception.nodes.latched import Latched
from sqz_perception.nodes.lifecycle import CALLS
from sqz_perception.nodes.loader import Loader
from sqz_perception.nodes.parameters import Parameters
from sqz_perception.nodes.time_limit import TimeLimit
from sqz_perception.nodes.update_link import UpdateLink
from sqz_perception.resources import default_model
from sqz_perception.update.host import Serving


class Observer(Protocol):
    """Learns how each frame went, in the thread of the frames."""

    def on_result(self, model: LoadedModel, milliseconds: float) -> None:
        """Record that ``model`` classified a frame, in ``milliseconds``."""

    def on_error(self, model: LoadedModel, error: Exception) -> None:
        """Record that the runtime of ``model`` failed on a frame."""


class ModelServer:
    """
    The model of a classifier node, from configure to cleanup, with the services that change it.

    The worker asks for ``current`` once per frame and reports each outcome with ``on_result`` or
    ``on_error``, which pass it on to ``observers``. ``trouble`` is the error of the last frame,
    None after a success. ``frame_rate`` returns how many frames per second the cameras deliver
    together, 0 where that is unknown.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: Parameters[ClassifierSettings],
        frame_rate: Callable[[], float],
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._limit = TimeLimit(lambda: self._settings.max_inference_time, frame_rate)
        self._loader = Loader()
        self._lock = threading.RLock()  # services, configure and release exclude each other
        self._classifier: Classifier | None = None
        self._latched: list[Latched] = []
        self._request: str | None = None  # the value of ``model`` that was last acted on
        self._path: Path | None = None  # of the model in use, also after cleanup
        self.trouble: str | None = None
        self.observers: list[Observer] = []
        self.updates: UpdateLink | None = None  # set by the node once both exist
        self.group = PairGroup()  # a load blocks no other call
        for name, callback in (
            ('update_model', self._on_update_model),
            ('rollback_model', self._on_rollback_model),
        ):
            node.create_service(
                Trigger, name, callback, qos_profile=CALLS, callback_group=self.group
            )

    @property
    def _settings(self) -> ClassifierSettings:
        return self._parameters.current

    @property
    def current(self) -> LoadedModel | None:
        """Return the model in use; None while the node is not configured."""
        classifier = self._classifier
        return classifier.current if classifier else None

    @property
    def swaps(self) -> int:
        classifier = self._classifier
        return classifier.swaps if classifier else 0

    def configure(self) -> None:
        """
        Load the model and create the publishers. Raises SqzError.

        The model is the one that was in use before cleanup, unless ``model`` has a new value.
        """
        request = self._settings.model
        model = self._load_first(request)
        path = Path(model.path)
        if warning := self._limit.warning(model):
            self._node.get_logger().warning(warning)
        with self._lock:
            for kind, topic in ((VisionInfo, 'vision_info'), (LabelInfo, 'label_info')):
                self._latched.append(Latched(self._node, kind, topic))
            self._classifier = Classifier(model)
        self._remember(request, path, durable=False)
        self._log('loaded', model)

    def _load_first(self, request: str) -> LoadedModel:
        """
        Load the model that was in use for this request, else the one that it names.

        Raises SqzError where the latter fails.
        """
        kept = self.updates.kept(request) if self.updates else []
        if self._path is not None and request == self._request:
            kept = [self._path, *kept]
        for path in kept:
            try:
                return self._load(path)
            except LoadCancelled:
                raise
            except SqzError as error:
                self._node.get_logger().error(f'{error}; loading the one before')
        return self._load(model_path(request))

    def _remember(self, request: str, path: Path, *, durable: bool) -> None:
        self._request, self._path = request, path
        if self.updates:
            self.updates.use(path, request, durable=durable)

    def release(self) -> None:
        """Undo ``configure``, whole or in part, and cancel the load of an update."""
        with self._lock:
            self._classifier = None
            self._loader.cancel()
            for latched in self._latched:
                latched.destroy()
            self._latched = []

    @property
    def loading(self) -> bool:
        """Whether the thread of a load runs, even that of a cancelled one."""
        return self._loader.running

    def cancel(self) -> None:
        """Cancel the load that is under way."""
        self._loader.cancel()

    def announce(self) -> None:
        """Publish what changed of the model's identity and labels, if there is a model."""
        with self._lock:
            if self._classifier is None:
                return
            model, version = self._classifier.current, self._classifier.swaps + 1
            vision_info, label_info = self._latched
            vision_info.update(messages.vision_info(model, version))
            label_info.update(messages.label_info(model, self._settings.threshold))

    def on_result(self, model: LoadedModel, milliseconds: float) -> None:
        """Record that ``model`` classified a frame, in ``milliseconds``."""
        self.trouble = None
        if model is self.current:
            self._limit.on_result(milliseconds)
        for observer in self.observers:
            observer.on_result(model, milliseconds)

    def on_error(self, model: LoadedModel, error: Exception) -> None:
        """Record that the runtime of ``model`` failed on a frame."""
        self.trouble = str(error)
        for observer in self.observers:
            observer.on_error(model, error)

    def load(self, path: Path) -> LoadedModel:
        """
        Return the model at ``path``: verified, compiled, tested, warm and fast enough.

        Blocks until then, but neither the frames nor the other services. Raises SqzError.
        """
        model = self._load(path)
        self._limit.check(model, self.current)
        return model

    def swap(self, model: LoadedModel) -> str:
        """Put ``model`` in use between two frames; return 'old -> new'. Raises SwapRefused."""
        with self._lock:
            return self._swapped(self._in_use().swap(model))

    def go_back(self, path: Path | None = None) -> str:
        """
        Put the model before in use, or an earlier one at ``path``; return 'old -> new'.

        Raises SqzError.
        """
        with self._lock:
            classifier = self._in_use()
            if path is None or classifier.previous_is(path):
                return self._swapped(classifier.rollback())
        return self.swap(self._load(path))

    def serving(self) -> Serving:
        """Return the model in use, as updates name it."""
        model = self._in_use().current
        return Serving(model.name, model.release, model.identity, Path(model.path))

    def slowest(self) -> float:
        """Return the longest accepted time per frame in milliseconds, infinite for no limit."""
        return self._limit.milliseconds(self.current)

    def _on_update_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._change(response, self._update)

    def _on_rollback_model(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return self._change(response, self._rollback)

    def _change(self, response: Trigger.Response, change: Callable[[], str]) -> Trigger.Response:
        """Answer a service with what ``change`` returns, or with why it failed."""
        log = self._node.get_logger()
        try:
            return answer(response, True, change())
        except (LoadCancelled, SwapRefused) as error:
            text = self._still_serving(str(error))
            log.warning(text)
        except Exception as error:
            named = isinstance(error, SqzError)
            text = self._still_serving(str(error) if named else f'{type(error).__name__}: {error}')
            log.error(text)
            log.debug(traceback.format_exc())
        return answer(response, False, text)

    def _still_serving(self, problem: str) -> str:
        current = self.current
        return ' '.join((f'{problem}; still serving {current}' if current else problem).split())

    def _update(self) -> str:
        classifier, request = self._in_use(), self._settings.model
        if self.updates and request == self._request and (change := self.updates.update()):
            return change
        self._request = request
        path = model_path(request)
        model = self.load(path)
        with self._lock:
            if self._classifier is not classifier:
                raise LoadCancelled(f'{path}: the node was cleaned up during the load')
            change = self.swap(model)
        self._remember(request, path, durable=True)
        return change

    def _rollback(self) -> str:
        self._in_use()  # the load of a transition is not cancelled
        cancelled = self._loader.cancel()
        try:
            return self.updates.go_back() if self.updates else self.go_back()
        except (SwapRefused, UpdateError):
            if cancelled is None:
                raise
            return f'cancelled the load of {cancelled}; still serving {self.current}'

    def _in_use(self) -> Classifier:
        """Return the model in use and the one before. Raises SwapRefused where there is none."""
        classifier, loading = self._classifier, self._loader.path
        if classifier is not None:
            return classifier
        if loading is not None:
            raise SwapRefused(f'busy: {loading} is being loaded; try again when that is done')
        raise SwapRefused('not configured: configure the node first')

    def _swapped(self, old: LoadedModel) -> str:
        new = self._in_use().current
        self._path = Path(new.path)
        self.trouble = None
        self._limit.forget()
        self.announce()
        self._log('now serving', new)
        return f'{old} -> {new}, {new.milliseconds:.1f} ms per frame'

    def _load(self, path: Path) -> LoadedModel:
        """Load the model at ``path``: verified, compiled, tested and warm. Raises SqzError."""
        runtime = Runtime(self._settings.backend, self._settings.precision, self._settings.threads)
        return self._loader.load(path, runtime)

    def _log(self, verb: str, model: LoadedModel) -> None:
        self._node.get_logger().info(
            f'{verb} {model} on {model.backend.description} ({model.why}), '
            f'{model.milliseconds:.1f} ms per frame'
        )


def model_path(request: str) -> Path:
    """Return the file that a value of ``model`` names. Raises ModelNotFound."""
    if not request:
        return default_model()
    try:
        return Path(request).expanduser()
    except RuntimeError as error:
        raise ModelNotFound(f'{request}: no such home folder; give the full path') from error


def answer(response: Any, success: bool, message: str) -> Any:
    """Return ``response``, a Trigger's or SetBool's, filled in."""
    response.success = success
    response.message = message.encode('utf-8', 'replace').decode()  # a path may hold any bytes
    return response
