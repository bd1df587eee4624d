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
An update from its first message to its commit.

``receive`` collects files. Metadata is verified; it names the file that this robot needs, a delta
or a whole model. When that has arrived, ``_stage`` rebuilds the model, checks its identity,
stores it, and lets the host load it next to the one in use. ``activate`` begins the trial and
swaps. ``tick`` ends the trial with a commit or goes back.

All methods but the observers and ``status`` belong to one thread, which may take its time.
Whatever fails is one line in ``status`` and in the replies, and the model in use goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqz_perception.errors import (
    DeltaBaseMismatch,
    ModelCorrupt,
    SqzError,
    UpdateError,
    UpdateInstalled,
    UpdateUntrusted,
)
from sqz_perception.model import delta, file
from sqz_perception.update import source, trust
from sqz_perception.update.host import Host, Policy
from sqz_perception.update.receiver import Complete, Receiver
from sqz_perception.update.release import File, Release, suitable
from sqz_perception.update.store import Store
from sqz_perception.update.trial import Trial
from sqz_perception.update.wire import ID_BYTES, Kind, State


@dataclass(frozen=True)
class Status:
    """How the update is, for people. ``failed``: the last one did not succeed."""

    state: str = 'idle'
    text: str = 'no update has arrived'
    failed: bool = False


class Updater:
    """See the module's text. ``root`` is the provisioned root document, empty if there is none."""

    def __init__(
        self,
        store: Store,
        receiver: Receiver,
        host: Host,
        root: bytes,
        policy: Callable[[], Policy],
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._store = store
        self._receiver = receiver
        self._host = host
        self._root = root
        self._policy = policy
        self._log = log
        self._bundle = b''  # SHA-256 of the metadata that the update came with
        self._release: Release | None = None  # on its way
        self._file: File | None = None  # that leads to it
        self._staged: tuple[Release, Any] | None = None
        self._trial: Trial | None = None
        self.status = Status()

    @property
    def staged(self) -> bool:
        """Whether a model is ready to be activated."""
        return self._staged is not None

    # What arrives.

    def receive(self, data: bytes, now: float) -> None:
        """Take a message from ``model_updates``."""
        event = self._receiver.receive(data, now)
        if not isinstance(event, Complete):
            return
        if event.kind == Kind.METADATA:
            self._bundle = event.sha256
            self._attempt(lambda: self._offered(trust.unpack(event.data), now))
        else:
            self._attempt(lambda: self._arrived(event.data, now))

    def look(self) -> None:
        """Stage the newest release of the source that the policy names. Raises SqzError."""
        place = self._policy().source
        if not place:
            return
        self._bundle = b''
        self._release = self._verified(source.bundle(place))
        self._file = self._release.way_from(self._host.serving().identity)
        try:
            self._stage(source.fetch(place, self._file))
        except (DeltaBaseMismatch, ModelCorrupt):
            self._file = self._release.whole()
            self._stage(source.fetch(place, self._file))

    def tick(self, now: float) -> Iterator[bytes]:
        """Go on with what takes time; yield the replies that are due."""
        policy = self._policy()
        if self._staged and not self._trial and policy.automatic and policy.allowed:
            self._attempt(lambda: self.activate(now))
        if trial := self._trial:
            self._attempt(lambda: self._judge(trial, now))
        serving = self._host.serving()
        self._receiver.release = serving.release
        self._receiver.identity = bytes.fromhex(serving.identity)[:ID_BYTES]
        if self.status.state == 'receiving':
            self._say('receiving', self._progress())
        yield from self._receiver.replies(now)

    # What is done with it.

    def activate(self, now: float) -> str:
        """Begin the trial of the staged model; return 'old -> new'. Raises SqzError."""
        if self._trial:
            raise UpdateError(f'{self._trial.release} is on trial; wait, or call rollback_model')
        if self._staged is None:
            raise UpdateError('no update is ready to be activated')
        release, model = self._staged
        seconds = self._policy().trial
        self._store.begin_trial(release.identity)
        self._staged = None
        self._trial = Trial(release, seconds, self._host.slowest(), now)
        change = self._host.swap(model)
        self._say('trial', f'{release} is on trial for {seconds:g} s')
        self._conclude(State.TRIAL)
        return change

    def go_back(self, why: str) -> str:
        """End the trial, if there is one, and use the model before. Raises SqzError."""
        trial, self._trial = self._trial, None
        if trial is None:
            previous = self._store.state.previous
            if not previous:
                raise UpdateError('there is no earlier model; name one in model and update')
            change = self._host.go_back(self._store.path(previous))
            self._store.roll_back()
            self._say('rolled back', change)
            return change
        change = self._host.go_back(None)
        self._fail('rolled back', f'{trial.release}: {why}; {change}', State.ROLLED_BACK)
        self._store.end_trial()
        return change

    def on_result(self, identity: str, milliseconds: float) -> None:
        """Record that a model classified a frame. Called by the thread of the frames."""
        if trial := self._trial:
            trial.on_result(identity, milliseconds)

    def on_error(self, identity: str, error: Exception) -> None:
        """Record that a model failed on a frame. Called by the thread of the frames."""
        if trial := self._trial:
            trial.on_error(identity, error)

    def _offered(self, bundle: trust.Bundle, now: float) -> None:
        release = self._verified(bundle)
        if release in (self._release, self._staged and self._staged[0]):
            return
        self._forget()
        self._release = release
        self._ask(release.way_from(self._host.serving().identity), now)

    def _verified(self, bundle: trust.Bundle) -> Release:
        """Return the release for this robot. Raises SqzError where there is none."""
        state, serving = self._store.state, self._host.serving()
        if self._root:
            record, releases = trust.verify(
                bundle, self._root, state.trust, time.time(), self._store.scratch
            )
            self._store.trusted(record)
        elif self._policy().unsigned:
            releases = trust.unverified(bundle)
        else:
            raise UpdateUntrusted(
                'this robot has no root document to verify updates with; set update_root'
            )
        floor = max(serving.release, state.releases.get(serving.name, 0))
        failed = frozenset(state.failed)
        return suitable(releases, serving.name, serving.identity, floor, failed)

    def _ask(self, wanted: File, now: float) -> None:
        self._file = wanted
        try:
            self._receiver.want(wanted.sha256, wanted.length, now, wanted.blocks)
        except ValueError as error:
            raise UpdateError(f'{wanted.path}: {error}') from error
        self._say('receiving', self._progress())

    def _arrived(self, data: bytes, now: float) -> None:
        try:
            self._stage(data)
        except (DeltaBaseMismatch, ModelCorrupt) as error:
            # The same delta would fail again: only the whole model can help.
            if self._release is None or self._file is None or not self._file.base:
                raise
            self._log(f'{error}; asking for the whole model')
            self._ask(self._release.whole(), now)

    def _stage(self, data: bytes) -> None:
        """Rebuild, check, store and load the model. Raises SqzError."""
        release, wanted = self._release, self._file
        assert release is not None
        assert wanted is not None
        self._say('verifying', f'{release} has arrived')
        if wanted.base:
            model = delta.apply(file.read(self._host.serving().path), data)
            data = file.encode(model, plain=True)  # coding it again would take seconds
        else:
            model = file.decode(data)
        named = file.identity(model), model.name, model.release
        if named != (release.identity, release.model, release.number):
            raise ModelCorrupt(f'the file is {model.name} release {model.release}, not {release}')
        loaded = self._host.load(self._store.add(release.identity, data))
        self._staged = release, loaded
        self._say('staged', f'{release} is ready: call update_model')
        self._conclude(State.STAGED)

    def _judge(self, trial: Trial, now: float) -> None:
        """Go back at once when the trial fails; commit when it ends well."""
        if why := trial.failure(now):
            self.go_back(why)
        elif now >= trial.ends:
            self._trial = None
            self._store.commit(trial.release.model, trial.release.number)
            self._say('committed', f'{trial.release} runs after a trial of {trial.frames} frames')
            self._conclude(State.COMMITTED)
            self._release = self._file = None

    def _forget(self) -> None:
        """Drop what is staged or on its way."""
        self._staged = self._release = self._file = None
        self._receiver.want_nothing()

    # What is said of it.

    def _attempt(self, step: Callable[[], object]) -> None:
        """Turn whatever goes wrong into a refusal."""
        try:
            step()
        except UpdateInstalled as error:
            self._say('committed', str(error))
            self._conclude(State.COMMITTED)
        except SqzError as error:
            self._refuse(str(error))
        except Exception as error:
            self._refuse(f'{type(error).__name__}: {error}')

    def _refuse(self, reason: str) -> None:
        self._forget()
        self._fail('refused', f'update refused: {reason}', State.REFUSED)

    def _fail(self, state: str, text: str, told: State) -> None:
        self.status = Status(state, ' '.join(text.split()), failed=True)
        self._log(self.status.text)
        self._conclude(told, self.status.text)

    def _say(self, state: str, text: str) -> None:
        if state != self.status.state:
            self._log(text)
        self.status = Status(state, text)

    def _conclude(self, state: State, reason: str = '') -> None:
        if self._bundle:
            self._receiver.conclude(self._bundle, state, reason)
            self._receiver.tell(self._bundle, 0.0)

    def _progress(self) -> str:
        wanted = self._file
        assert wanted is not None
        got, count = self._receiver.progress().get(wanted.sha256[:ID_BYTES].hex(), (0, 1))
        kind = 'the changes' if wanted.base else 'the whole model'
        return f'{self._release}: {kind}, {wanted.length:,} bytes, {100 * got // count} %'
