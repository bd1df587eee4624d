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
Updates over ROS: topics and services <-> the updater, in a thread of its own.

The callback only queues a message; a full queue drops it, as a lossy link would. So no number of
messages holds up the frames. Verifying, rebuilding and loading happen in the thread.
"""

from __future__ import annotations

import array
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import UInt8MultiArray

from sqz_perception.errors import StoreFailed, UpdateError
from sqz_perception.inference.classifier import LoadedModel
from sqz_perception.nodes.classifier_parameters import ClassifierSettings
from sqz_perception.nodes.diagnostics import status
from sqz_perception.update.host import Host, Policy
from sqz_perception.update.receiver import Receiver
from sqz_perception.update.store import Store
from sqz_perception.update.updater import Updater
from sqz_perception.update.wire import MAX_MESSAGE

TICK = 0.02  # seconds
QUEUE = 2000  # messages
# Best effort: parity repairs what is lost, for all robots at once. Reliable QoS would send it anew
# to each robot that lost it.
UPDATES = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)

Job: TypeAlias = 'tuple[Callable[[], str], Future[str]]'


class UpdateLink:
    """
    The updates of one node.

    ``host`` runs its models, and ``ready`` returns whether it has one; ``settings`` returns the
    node's parameters. ``problem`` is why there can be no updates, or ''.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], ClassifierSettings],
        host: Host,
        ready: Callable[[], bool],
    ) -> None:
        self._node = node
        self._settings = settings
        self._ready = ready
        self._queue: queue.Queue[bytes | Job] = queue.Queue(QUEUE)
        self._dropped = 0
        self._ended = threading.Event()
        self.allowed = True
        self.problem = ''
        self.store = Store(_store_folder(node, settings().store_dir))
        self._open_store()
        receiver = Receiver(node.get_fully_qualified_name().lstrip('/'), settings().update_ring)
        self._updater = Updater(self.store, receiver, host, self._root(), self._policy, self._log)
        self.group = MutuallyExclusiveCallbackGroup()
        self._replies = node.create_publisher(UInt8MultiArray, 'model_update_replies', UPDATES)
        node.create_subscription(
            UInt8MultiArray, 'model_updates', self._receive, UPDATES, callback_group=self.group
        )
        self._thread = threading.Thread(target=self._run, name='updates', daemon=True)

    def start(self) -> None:
        """Begin to work on what arrives: the host has a model."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, seconds: float) -> bool:
        """End the thread; return whether it has ended."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self.store.close()
        return not self._thread.is_alive()

    def kept(self, request: str) -> list[Path]:
        """Return the models that were in use for this value of ``model``, the latest first."""
        state = self.store.state
        if self.problem or state.request != request:
            return []
        return [self.store.path(name) for name in (state.current, state.previous) if name]

    def use(self, path: Path, request: str, *, durable: bool) -> None:
        """Record that the model at ``path`` is in use, which this value of ``model`` led to."""
        name = path.stem if path.parent == self.store.models else str(path)
        state = self.store.state
        if self.problem or (state.current, state.request) == (name, request):
            return
        try:
            self.store.use(name, request, durable=durable)
        except StoreFailed as error:
            self.store.problem = str(error)

    def update(self) -> str:
        """
        Activate what has arrived or lies in the source; return 'old -> new'.

        Return '' where there is nothing and ``model`` names a file to load. Raises SqzError.
        """
        if self.problem:
            return ''
        change = self._do(self._update)
        if not change and self.store.holds(self.store.state.current):
            raise UpdateError('no update has arrived; to load a file, set the parameter model')
        return change

    def _update(self) -> str:
        if not self._updater.staged:
            self._updater.look()
        return self._updater.activate(time.monotonic()) if self._updater.staged else ''

    def go_back(self) -> str:
        """Put the model before in use again; return 'old -> new'. Raises SqzError."""
        return self._do(lambda: self._updater.go_back('rollback_model was called'))

    def on_result(self, model: LoadedModel, milliseconds: float) -> None:
        self._updater.on_result(model.identity, milliseconds)

    def on_error(self, model: LoadedModel, error: Exception) -> None:
        self._updater.on_error(model.identity, error)

    def report(self) -> DiagnosticStatus:
        """Return the status of the updates for the diagnostics."""
        update, settings = self._updater.status, self._settings()
        level, text = DiagnosticStatus.OK, update.text
        if self.store.problem:
            level, text = DiagnosticStatus.WARN, self.store.problem
        if update.failed:
            level, text = DiagnosticStatus.WARN, update.text
        if settings.allow_unsigned_updates:
            level, text = DiagnosticStatus.WARN, f'allow_unsigned_updates is set; {text}'
        if self.problem:
            level, text = DiagnosticStatus.WARN, f'no updates: {self.problem}'
        values = {
            'state': update.state,
            'allowed': self.allowed,
            'releases': self.store.state.releases,
            'previous': self.store.state.previous,
            'store': self.store.root,
            'messages_dropped': self._dropped,
        }
        return status(level, 'updates', text, values)

    def _do(self, job: Callable[[], str]) -> str:
        """Let the thread do a job; return its result or raise its error."""
        outcome: Future[str] = Future()
        try:
            self._queue.put((job, outcome), timeout=1.0)
        except queue.Full as error:
            raise UpdateError('busy: too many update messages; try again') from error
        while not self._ended.is_set():
            with suppress(TimeoutError):
                return outcome.result(timeout=0.1)
        raise UpdateError('the node is ending')

    def _receive(self, message: UInt8MultiArray) -> None:
        if len(message.data) > MAX_MESSAGE or self.problem:
            self._dropped += 1
            return
        try:
            self._queue.put_nowait(bytes(message.data))
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._step()
            except Exception as error:
                if not self._ended.is_set() and self._node.context.ok():
                    self._log(f'{type(error).__name__}: {error}; please report this')

    def _step(self) -> None:
        with suppress(queue.Empty):
            for _ in range(QUEUE):
                self._take(self._queue.get(timeout=TICK))
                if self._queue.empty():
                    break
        if not self._ready():
            return
        for reply in self._updater.tick(time.monotonic()):
            self._replies.publish(UInt8MultiArray(data=array.array('B', reply)))

    def _take(self, item: bytes | Job) -> None:
        if isinstance(item, bytes):
            if self._ready():
                self._updater.receive(item, time.monotonic())
            return
        job, outcome = item
        try:
            outcome.set_result(job())
        except Exception as error:
            outcome.set_exception(error)

    def _open_store(self) -> None:
        log = self._node.get_logger()
        try:
            ended = self.store.open()
        except StoreFailed as error:
            self.problem = str(error)
            log.warning(f'no updates: {error}')
            return
        if ended:
            log.warning(f'the model {ended[:12]} did not end its trial; the one before is used')
        if self.store.problem:
            log.warning(self.store.problem)

    def _root(self) -> bytes:
        path = self._settings().update_root
        if not path:
            return b''
        try:
            return Path(path).expanduser().read_bytes()
        except (OSError, RuntimeError) as error:
            self.problem = f'update_root: {error}; give the path of a root document'
            return b''

    def _policy(self) -> Policy:
        settings = self._settings()
        return Policy(
            automatic=settings.auto_update,
            allowed=self.allowed,
            unsigned=settings.allow_unsigned_updates,
            trial=settings.trial_time,
            source=settings.update_source,
        )

    def _log(self, line: str) -> None:
        self._node.get_logger().info(f'updates: {line}')


def _store_folder(node: Node, wanted: str) -> Path:
    """Return the folder of this node's models: below ROS's own unless another is wanted."""
    if wanted:
        return Path(os.path.expanduser(wanted))
    home = os.environ.get('ROS_HOME') or os.path.expanduser('~/.ros')
    name = node.get_fully_qualified_name().strip('/').replace('/', '.')
    return Path(home) / 'sqz_perception' / name
