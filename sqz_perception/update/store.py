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
The models of one robot on disk, and which of them is in use.

::

    state.0, state.1      the state, twice: the older slot is replaced, so one is always whole
    models/IDENTITY.sqz   models that came over the air
    scratch/              emptied at each start
    lock                  held while a process uses the folder

Every change of the state is one durable replacement of a slot; models are on the disk before a
state names them and removed after no state does. So a power cut at any moment leaves the old state
or the new one. A model on trial at a start means that its trial was cut short: see ``open``.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from sqz_perception import atomic
from sqz_perception.errors import StoreFailed
from sqz_perception.update.trust import Record

MAGIC = b'SQZSTATE'
SLOTS = ('state.0', 'state.1')
HASH_BYTES = 32
MAX_STATE = 2**20  # bytes
MAX_FAILED = 16  # identities of models whose trial failed
SUFFIX = '.sqz'


@dataclass(frozen=True)
class State:
    """
    What the robot runs. A model is named by a path, or by its identity if it is in the store.

    ``request`` is the value of the parameter ``model`` for which this state was made: another
    value asks for another model.
    """

    sequence: int = 0
    request: str = ''
    current: str = ''  # empty: nothing was in use yet
    previous: str = ''  # what rollback goes to; empty: nothing
    trial: str = ''  # identity of the model that is being tried
    releases: dict[str, int] = field(default_factory=dict)  # committed, by the model's name
    failed: tuple[str, ...] = ()  # identities, the latest last
    trust: Record = field(default_factory=Record)


class Store:
    """
    The folder at ``root``. Methods that change it raise StoreFailed and then change nothing.

    ``problem`` is one line about what was found damaged, or empty.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.models = root / 'models'
        self.scratch = root / 'scratch'
        self.state = State()
        self.problem = ''
        self._held: IO[bytes] | None = None

    def open(self) -> str:
        """
        Read the newest whole state; end a trial that was cut short, back to the model before.

        Returns the identity of the model whose trial was ended, or ''.
        """
        with _named(self.root):
            self.models.mkdir(parents=True, exist_ok=True)
            self._lock()
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir()
        self.state = self._newest()
        ended = self.state.trial
        if ended:
            self.end_trial()
        self.collect()
        return ended

    def close(self) -> None:
        """Let another process use the folder."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _lock(self) -> None:
        self.close()
        held = open(self.root / 'lock', 'wb')  # noqa: SIM115
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise StoreFailed(
                f'{self.root}: another process uses it; give each node a store_dir of its own'
            ) from None
        self._held = held

    def path(self, name: str) -> Path:
        """Return the file of a model that the state names."""
        return self.models / f'{name}{SUFFIX}' if self.holds(name) else Path(name)

    def holds(self, name: str) -> bool:
        """Return whether a model's name is an identity in the store."""
        return len(name) == 2 * HASH_BYTES and (self.models / f'{name}{SUFFIX}').is_file()

    def add(self, identity: str, data: bytes) -> Path:
        """Write a model file, durably; it stays if the state names it before ``collect``."""
        path = self.models / f'{identity}{SUFFIX}'
        with _named(path):
            atomic.replace(path, data)
        return path

    def trusted(self, record: Record) -> None:
        """Keep what must be remembered of accepted metadata."""
        if record != self.state.trust:
            self._write(replace(self.state, trust=record))

    def use(self, name: str, request: str, *, durable: bool = True) -> None:
        """
        Make ``name`` current, without a trial: it was asked for by hand.

        Not ``durable``: what the next start would find out by itself is not written.
        """
        state = replace(self.state, request=request, trial='')
        if name != state.current:
            state = replace(state, current=name, previous=state.current)
        if durable:
            self._write(state)
            self.collect()
        else:
            self.state = state

    def begin_trial(self, identity: str) -> None:
        """Record that the model ``identity`` is about to be tried."""
        self._write(replace(self.state, trial=identity))

    def commit(self, model: str, release: int) -> None:
        """Make the model on trial current; its release becomes the floor for ``model``."""
        state = self.state
        floor = max(release, state.releases.get(model, 0))
        self._write(
            replace(
                state,
                previous=state.current,
                current=state.trial,
                trial='',
                releases={**state.releases, model: floor},
            )
        )
        self.collect()

    def end_trial(self) -> None:
        """Forget the model on trial and remember that it failed."""
        failed = (*self.state.failed, self.state.trial)[-MAX_FAILED:]
        self._write(replace(self.state, trial='', failed=failed))

    def roll_back(self) -> None:
        """Make the previous model current. There is no way forward again but a new update."""
        self._write(replace(self.state, current=self.state.previous, previous=''))

    def collect(self) -> None:
        """Remove what no state needs: models, and files that a power cut left half written."""
        state = self.state
        needed = {f'{name}{SUFFIX}' for name in (state.current, state.previous, state.trial)}
        with suppress(OSError):  # a disk that can't be cleaned is no reason to stop
            for path in self.models.iterdir():
                if path.name not in needed:
                    path.unlink()
            for path in self.root.glob('.state.*'):
                path.unlink()

    def _newest(self) -> State:
        found, damaged = [], []
        for slot in SLOTS:
            path = self.root / slot
            try:
                found.append(decode(path.read_bytes()))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                damaged.append(f'{path}: {error}')
        if damaged:
            used = 'the other copy is used' if found else 'starting without one'
            self.problem = f'the state of the models is damaged ({damaged[0]}); {used}'
        return max(found, key=lambda state: state.sequence, default=State())

    def _write(self, state: State) -> None:
        state = replace(state, sequence=self.state.sequence + 1)
        path = self.root / SLOTS[state.sequence % 2]
        with _named(path):
            atomic.replace(path, encode(state))
        self.state = state


def encode(state: State) -> bytes:
    """Return the bytes of a slot: magic, SHA-256 of what follows, JSON."""
    trust = state.trust
    document = {
        **{key: value for key, value in vars(state).items() if key != 'trust'},
        'trust': {
            'root': _text(trust.root),
            'documents': {role: _text(data) for role, data in trust.documents.items()},
            'floors': dict(trust.floors),
            'keys': list(trust.keys),
            'attested': trust.attested,
        },
    }
    body = json.dumps(document, separators=(',', ':')).encode()
    return MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes) -> State:
    """Return the state in a slot. Raises ValueError, KeyError or TypeError for a damaged one."""
    body = data[len(MAGIC) + HASH_BYTES : MAX_STATE]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != data[len(MAGIC) :][:32]:
        raise ValueError('cut off or altered')
    document: dict[str, Any] = json.loads(body)
    trust = document.pop('trust')
    record = Record(
        root=base64.b64decode(trust['root']),
        documents={role: base64.b64decode(text) for role, text in trust['documents'].items()},
        floors=trust['floors'],
        keys=tuple(trust['keys']),
        attested=trust['attested'],
    )
    return State(**{**document, 'failed': tuple(document['failed'])}, trust=record)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn an error of the disk into StoreFailed, which names the path."""
    try:
        yield
    except OSError as error:
        raise StoreFailed(
            f'{path}: {error.strerror or error}; free the disk, or set store_dir to a folder that '
            'can be written'
        ) from error
