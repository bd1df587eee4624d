# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which model the node uses: load it, announce it, replace it, roll it back."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger
from vision_msgs.msg import LabelInfo, VisionInfo

from sqz_perception.errors import LoadCancelled, ModelNotFound, SqzError, SwapRefused
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import Classifier, LoadedModel
from sqz_perception.nodes import messages
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.executor import PairGroup
from sqz_perception.nodes.latched import Latched
from sqz_perception.nodes.lifecycle import CALLS
from sqz_perception.nodes.loader import Loader
from sqz_perception.nodes.parameters import Parameters
from sqz_perception.resources import default_model

# How many times as slow as the model in use a new one may be measured, whatever the cameras' rate:
# a load shares the processor with the frames.
SLACK = 2.0


class ModelServer:
    """
    The model of a classifier node, from configure to cleanup, with the services that change it.

    The worker asks for ``current`` once per frame and reports each outcome with ``on_result`` or
    ``on_error``. ``trouble`` is the error of the last frame, None after a success. ``frame_rate``
    returns how many frames per second the cameras deliver together, 0 where that is unknown.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: Parameters[ClassifierSettings],
        frame_rate: Callable[[], float],
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._frame_rate = frame_rate
        self._loader = Loader()
        self._lock = threading.RLock()  # services, configure and release exclude each other
        self._classifier: Classifier | None = None
        self._latched: list[Latched] = []
        self._request: str | None = None  # the value of ``model`` that was last acted on
        self._path: Path | None = None  # of the model in use, also after cleanup
        self.trouble: str | None = None
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
        path = model_path(request)
        if self._path is not None and request == self._request:
            path = self._path
        model = self._load(path)
        self._warn_if_slow(model)
        with self._lock:
            for kind, topic in ((VisionInfo, 'vision_info'), (LabelInfo, 'label_info')):
                self._latched.append(Latched(self._node, kind, topic))
            self._classifier = Classifier(model)
        self._request, self._path = request, path
        self._log('loaded', model)

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

    def on_error(self, model: LoadedModel, error: Exception) -> None:
        """Record that the runtime of ``model`` failed on a frame."""
        self.trouble = str(error)

    def _on_update_model(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._change(response, self._update)

    def _on_rollback_model(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return self._change(response, self._rollback)

    def _change(
        self, response: Trigger.Response, change: Callable[[Classifier], str]
    ) -> Trigger.Response:
        """Answer a service with what ``change`` returns, or with why it failed."""
        classifier = self._classifier
        if classifier is None:
            loading = self._loader.path
            busy = f'busy: {loading} is being loaded; try again when that is done'
            missing = 'not configured: configure the node first'
            return answer(response, False, busy if loading else missing)
        try:
            return answer(response, True, change(classifier))
        except Exception as error:
            cause = (
                str(error) if isinstance(error, SqzError) else f'{type(error).__name__}: {error}'
            )
            text = ' '.join(f'{cause}; still serving {classifier.current}'.split())
            log = self._node.get_logger()
            expected = isinstance(error, (LoadCancelled, SwapRefused))
            (log.warning if expected else log.error)(text)
            self._node.get_logger().debug(traceback.format_exc())
            return answer(response, False, text)

    def _update(self, classifier: Classifier) -> str:
        self._request = self._settings.model
        path = model_path(self._request)
        model = self._load(path)
        self._check_time(model, classifier.current)
        with self._lock:
            if self._classifier is not classifier:
                raise LoadCancelled(f'{path}: the node was cleaned up during the load')
            old = classifier.swap(model)
            return self._swapped(old, model)

    def _rollback(self, classifier: Classifier) -> str:
        with self._lock:
            cancelled = self._loader.cancel()
            try:
                old = classifier.rollback()
            except SwapRefused:
                if cancelled is None:
                    raise
                return f'cancelled the load of {cancelled}; still serving {classifier.current}'
            return self._swapped(old, classifier.current)

    def _swapped(self, old: LoadedModel, new: LoadedModel) -> str:
        self._path = Path(new.path)
        self.trouble = None
        self.announce()
        self._log('now serving', new)
        return f'{old} -> {new}, {new.milliseconds:.1f} ms per frame'

    def _load(self, path: Path) -> LoadedModel:
        """Load the model at ``path``: verified, compiled, tested and warm. Raises SqzError."""
        runtime = Runtime(self._settings.backend, self._settings.precision, self._settings.threads)
        return self._loader.load(path, runtime)

    def _check_time(self, model: LoadedModel, current: LoadedModel) -> None:
        """Raise SwapRefused where ``model`` is too slow to replace ``current``."""
        limit, why = self._limit(current)
        if model.milliseconds > limit:
            raise SwapRefused(
                f'{model.path}: takes {model.milliseconds:.1f} ms per frame, {why} allows '
                f'{limit:.1f} ms; raise max_inference_time to accept it, 0.0 is no limit'
            )

    def _warn_if_slow(self, model: LoadedModel) -> None:
        limit = self._settings.max_inference_time
        if 0 < limit < model.milliseconds / 1e3:
            self._node.get_logger().warning(
                f'{model} takes {model.milliseconds:.1f} ms per frame, max_inference_time is '
                f'{limit:g} s; use a smaller model or more threads'
            )

    def _limit(self, current: LoadedModel) -> tuple[float, str]:
        """Return the longest time of one frame in milliseconds, and where it comes from."""
        limit = self._settings.max_inference_time
        if limit >= 0:
            return 1e3 * limit or math.inf, 'max_inference_time'
        rate = self._frame_rate()
        if rate == 0:
            return math.inf, ''
        slack = SLACK * current.milliseconds
        if slack > 1e3 / rate:
            return slack, f'a model in use of {current.milliseconds:.1f} ms'
        return 1e3 / rate, f'a camera rate of {rate:.1f} Hz'

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
