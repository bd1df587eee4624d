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
A repository of signed releases: a plain folder that any web server can serve.

It follows The Update Framework with consistent snapshots::

    metadata/1.root.json  2.root.json ...  timestamp.json  N.snapshot.json  N.targets.json
    targets/MODEL/HASH.RELEASE.sqz  HASH.RELEASE-from-BASE.sqd

Documents are written before those that name them, so a robot that reads the folder at any moment
finds a complete publication.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from sqz_perception import atomic
from sqz_perception.errors import UpdateError
from sqz_perception.model import delta, file
from sqz_perception.update.receiver import block_hashes
from sqz_perception.update.release import CUSTOM
from sqz_perception.update.trust import ISSUED
from sqz_perception.version import VERSION

COMPACT = JSONSerializer(compact=True)
ONLINE = ('timestamp', 'snapshot', 'targets')  # roles with one key each, used at every release
# Days until a document expires. A robot refuses an expired one: this bounds how long somebody who
# controls the link can hide newer releases.
LIFETIME = {'root': 3650, 'timestamp': 90, 'snapshot': 90, 'targets': 365}

Key = Callable[[str], CryptoSigner]  # the key of a name: 'root-1', 'timestamp' ...


@dataclass(frozen=True)
class Published:
    """A file of a release as it was published."""

    path: str
    size: int  # bytes
    base: str  # identity; empty for the whole model


class Repository:
    """The folder at ``root``. Methods raise UpdateError with one line and the remedy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.metadata = root / 'metadata'
        self.targets = root / 'targets'

    def create(self, signers: Mapping[str, CryptoSigner], threshold: int) -> bytes:
        """
        Write a repository without releases; return the root document for the robots.

        ``signers`` holds the root keys, 'root-1' ..., and one key for each of ONLINE.
        """
        if self.metadata.exists():
            raise UpdateError(f'{self.root}: a repository is already there; choose another folder')
        root = Root(expires=_expires('root'), consistent_snapshot=True)
        for name, signer in signers.items():
            root.add_key(signer.public_key, 'root' if name.startswith('root-') else name)
        root.roles['root'].threshold = threshold
        document = Metadata(root)
        for name, signer in signers.items():
            if name.startswith('root-'):
                document.sign(signer, append=True)
        self.targets.mkdir(parents=True)
        self.metadata.mkdir()
        data = self._write('1.root.json', document)
        self._publish(Targets(expires=_expires('targets')), signers)
        return data

    def release(
        self, model: Path, bases: Sequence[Path], key: Key, *, keep: int = 1
    ) -> list[Published]:
        """
        Sign and publish the model file at ``model`` with a delta from each of ``bases``.

        Only the ``keep`` newest releases of the model stay; older files are removed.
        """
        new, content = file.read(model), model.read_bytes()
        targets = self._signed('targets', Targets)
        latest = max((t.custom[CUSTOM]['release'] for t in _of(targets, new.name)), default=0)
        if new.release <= latest:
            raise UpdateError(
                f'{model}: release {new.release} of {new.name} is not newer than {latest}, '
                'which is published; give the file a higher release'
            )
        fields = {
            'model': new.name,
            'release': new.release,
            'result': file.identity(new),
            'architecture': _architecture(new.nodes),
            'requires': '.'.join(map(str, VERSION)),
            'base': '',
        }
        published = [self._add(targets, f'{new.name}/{new.release}.sqz', content, fields)]
        for path in bases:
            old = file.read(path)
            base = file.identity(old)
            if old.name != new.name:
                raise UpdateError(f'{path}: a model of {old.name}, not of {new.name}')
            name = f'{new.name}/{new.release}-from-{base[:12]}.sqd'
            data = delta.encode(old, new)
            published.append(self._add(targets, name, data, {**fields, 'base': base}))
        self._prune(targets, new.name, keep)
        targets.version += 1
        targets.expires = _expires('targets')
        self._publish(targets, {name: key(name) for name in ONLINE})
        self._remove_unnamed(targets)
        return published

    def renew(self, key: Key) -> None:
        """Sign everything anew with later dates, without a new release."""
        targets = self._signed('targets', Targets)
        targets.version += 1
        targets.expires = _expires('targets')
        self._publish(targets, {name: key(name) for name in ONLINE})

    def rotate(self, name: str, new: CryptoSigner, key: Key) -> bytes:
        """
        Replace the key ``name`` by ``new``; return the new root document.

        Signed by the root keys of before and of after, as far as they are at hand.
        """
        root = self._signed('root', Root)
        role = 'root' if name.startswith('root-') else name
        names = [f'root-{i + 1}' for i in range(len(root.roles['root'].keyids))]
        signers = [key(other) for other in names]
        old = key(name)
        root.revoke_key(old.public_key.keyid, role)
        root.add_key(new.public_key, role)
        root.version += 1
        root.expires = _expires('root')
        document = Metadata(root)
        for signer in [*signers, *([new] if role == 'root' else [])]:
            document.sign(signer, append=True)
        return self._write(f'{root.version}.root.json', document)

    def bundle(self) -> dict[str, bytes]:
        """Return the documents of the current publication, all roots but the first included."""
        names = ['timestamp.json']
        snapshot = self._signed('timestamp', Timestamp).snapshot_meta.version
        names.append(f'{snapshot}.snapshot.json')
        meta = self._signed('snapshot', Snapshot).meta['targets.json']
        names.append(f'{meta.version}.targets.json')
        names += [f'{version}.root.json' for version in range(2, self._root_version() + 1)]
        return {name: (self.metadata / name).read_bytes() for name in names}

    def files(self, model: str | None = None) -> list[tuple[TargetFile, bytes]]:
        """Return the files of the newest release of each model, or of one, with their bytes."""
        targets = self._signed('targets', Targets)
        found = [t for t in targets.targets.values() if model in (None, t.custom[CUSTOM]['model'])]
        newest: dict[str, int] = {}
        for target in found:
            fields = target.custom[CUSTOM]
            newest[fields['model']] = max(newest.get(fields['model'], 0), fields['release'])
        return [
            (target, self._path(target).read_bytes())
            for target in found
            if target.custom[CUSTOM]['release'] == newest[target.custom[CUSTOM]['model']]
        ]

    def _add(
        self, targets: Targets, path: str, data: bytes, fields: Mapping[str, Any]
    ) -> Published:
        blocks = base64.b64encode(block_hashes(data)).decode()
        target = TargetFile.from_data(path, data, ['sha256'])
        target.unrecognized_fields['custom'] = {CUSTOM: {**fields, 'blocks': blocks}}
        targets.targets[path] = target
        place = self._path(target)
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(place, data)
        return Published(path, len(data), fields['base'])

    def _path(self, target: TargetFile) -> Path:
        folder, _, name = target.path.rpartition('/')
        return self.targets / folder / f'{target.hashes["sha256"]}.{name}'

    def _prune(self, targets: Targets, model: str, keep: int) -> None:
        releases = sorted({t.custom[CUSTOM]['release'] for t in _of(targets, model)})
        for target in _of(targets, model):
            if target.custom[CUSTOM]['release'] not in releases[-keep:]:
                del targets.targets[target.path]

    def _remove_unnamed(self, targets: Targets) -> None:
        named = {self._path(target) for target in targets.targets.values()}
        for path in self.targets.rglob('*'):
            if path.is_file() and path not in named:
                path.unlink()

    def _publish(self, targets: Targets, signers: Mapping[str, CryptoSigner]) -> None:
        """Sign and write targets, then the snapshot that names them, then the timestamp."""
        first = not (self.metadata / 'timestamp.json').exists()
        number = 1 if first else self._signed('timestamp', Timestamp).version + 1
        documents = {
            f'{targets.version}.targets.json': targets,
            f'{number}.snapshot.json': Snapshot(
                number, expires=_expires('snapshot'),
                meta={'targets.json': MetaFile(targets.version)},
            ),
            'timestamp.json': Timestamp(
                number, expires=_expires('timestamp'), snapshot_meta=MetaFile(number),
                unrecognized_fields={ISSUED: int(time.time())},
            ),
        }  # fmt: skip
        for name, signed in documents.items():
            document: Metadata = Metadata(signed)
            document.sign(signers[signed.type])
            self._write(name, document)

    def _write(self, name: str, document: Metadata) -> bytes:
        data = document.to_bytes(COMPACT)
        try:
            atomic.replace(self.metadata / name, data)
        except OSError as error:
            raise UpdateError(f'{self.metadata / name}: {error.strerror or error}') from error
        return data

    def _root_version(self) -> int:
        versions = [int(path.name.split('.')[0]) for path in self.metadata.glob('*.root.json')]
        if not versions:
            raise UpdateError(f'{self.root}: no repository; make one with training.publish init')
        return max(versions)

    def _signed(self, role: str, kind: type) -> Any:
        name = f'{role}.json'
        if role == 'root':
            name = f'{self._root_version()}.root.json'
        elif role == 'snapshot':
            name = f'{self._signed("timestamp", Timestamp).snapshot_meta.version}.snapshot.json'
        elif role == 'targets':
            version = self._signed('snapshot', Snapshot).meta['targets.json'].version
            name = f'{version}.targets.json'
        try:
            signed = Metadata.from_file(str(self.metadata / name)).signed
        except (OSError, DeserializationError, RepositoryError) as error:
            raise UpdateError(
                f'{self.metadata / name}: {" ".join(str(error).split())}; give the folder that '
                'training.publish init made'
            ) from error
        assert isinstance(signed, kind)
        return signed


def _of(targets: Targets, model: str) -> list[TargetFile]:
    return [t for t in targets.targets.values() if t.custom[CUSTOM]['model'] == model]


def _architecture(nodes: object) -> str:
    return hashlib.sha256(repr(nodes).encode()).hexdigest()[:12]


def _expires(role: str) -> datetime:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return now + timedelta(days=LIFETIME[role])
