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
What may be installed, by The Update Framework (TUF, theupdateframework.io).

The rules, in the order in which they are checked:

1. New root documents follow one another without a gap; each is signed by the threshold of the
   root before and by its own.
2. Timestamp, snapshot and targets are signed by the thresholds that the root names, and name one
   another by version: documents of different publications do not mix.
3. No version is lower than one accepted before. These floors are kept by the store, on disk. A
   new root with other keys resets those of the other roles: else whoever once had a key could
   raise the versions so far that no later update is accepted.
4. No document has expired. A robot may have no clock: the time is the latest of the system's, of
   the last time that a timestamp attested, and of this package's release.
5. A release is for this robot's model, newer than the one committed, and within the version of
   this package. It names its base and its result by their identities.

``python-tuf``'s client checks 1, 2 and part of 3 and 4; this module gives it the documents of a
bundle in place of a network and checks the rest. A bundle is what one publication consists of: the
documents by their file names.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from tuf.api import exceptions
from tuf.api.metadata import Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from sqz_perception.errors import UpdateUntrusted
from sqz_perception.update.release import Release, releases_in
from sqz_perception.version import RELEASED

ROLES = ('timestamp', 'snapshot', 'targets')
MAX_BUNDLE = 256 * 2**10  # bytes of all documents of a bundle
MAX_NAME = 64  # characters of a document's file name
DOCUMENT = re.compile(r'(\d{1,9}\.)?(root|timestamp|snapshot|targets)\.json')
ISSUED = 'issued'  # a signed field of the timestamp: seconds since 1970
# Far below python-tuf's defaults, which are for repositories of thousands of packages. Bytes.
LIMITS = UpdaterConfig(
    max_root_rotations=32,
    max_delegations=0,
    root_max_length=16_384,
    timestamp_max_length=4_096,
    snapshot_max_length=4_096,
    targets_max_length=65_536,
)

Bundle = Mapping[str, bytes]  # documents by their file names


@dataclass(frozen=True)
class Record:
    """What a robot must remember of the documents it has accepted; the store keeps it."""

    root: bytes = b''  # the newest root document; empty: the one that was provisioned
    documents: Mapping[str, bytes] = field(default_factory=dict)  # by role
    floors: Mapping[str, int] = field(default_factory=dict)  # lowest versions, by role
    keys: tuple[str, ...] = ()  # that signed them; other keys begin with other versions
    attested: float = 0.0  # the latest signed time of issue, seconds since 1970


def pack(bundle: Bundle) -> bytes:
    """Return a bundle as one compressed file."""
    texts = {name: data.decode() for name, data in bundle.items()}
    return zlib.compress(json.dumps(texts, separators=(',', ':')).encode(), 9)


def unpack(data: bytes) -> Bundle:
    """Return the bundle that ``pack`` made. Raises UpdateUntrusted."""
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(data, MAX_BUNDLE + 1)
        if len(text) > MAX_BUNDLE or not stream.eof:
            raise UpdateUntrusted(f'a bundle of more than {MAX_BUNDLE:,} bytes of documents')
        documents = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise UpdateUntrusted(f'the bundle is damaged: {str(error)[:100]}') from error
    return check_bundle(documents)


def check_bundle(documents: Any) -> Bundle:
    """Return the documents, texts by their file names, as bytes. Raises UpdateUntrusted."""
    if not isinstance(documents, dict):
        raise UpdateUntrusted('the bundle is not an object of documents')
    for name, text in documents.items():
        if not DOCUMENT.fullmatch(name) or not isinstance(text, str):
            raise UpdateUntrusted(f'the bundle holds {name[:MAX_NAME]!r}, which is no document')
    return {name: text.encode('utf-8', 'replace') for name, text in documents.items()}


def verify(
    bundle: Bundle, provisioned: bytes, record: Record, clock: float, scratch: Path
) -> tuple[Record, tuple[Release, ...]]:
    """
    Return the new record and all releases of a bundle that may be trusted.

    ``provisioned`` is the root document that the robot was set up with, ``clock`` the system's
    time in seconds since 1970. python-tuf works in a temporary folder inside ``scratch``. Raises
    UpdateUntrusted, or OSError where ``scratch`` can't be written.
    """
    now = max(clock, record.attested, RELEASED.timestamp())
    try:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            updater = _updater(Path(folder), bundle, provisioned, record)
            updater._trusted_set.reference_time = datetime.fromtimestamp(now, timezone.utc)
            updater.refresh()
            trusted = updater._trusted_set
            return _new_record(Path(folder), trusted, record), releases_in(trusted.targets.targets)
    except exceptions.ExpiredMetadataError as error:
        raise UpdateUntrusted(
            f'{_line(error)} (the time here is {_date(now)}); publish again, or set the clock'
        ) from error
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        raise UpdateUntrusted(f'{_line(error)}; the update is refused') from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UpdateUntrusted(f'a signed document is damaged: {_line(error)}') from error


def unverified(bundle: Bundle) -> tuple[Release, ...]:
    """Return all releases of a bundle without a look at any signature. Raises UpdateUntrusted."""
    try:
        name = max((n for n in bundle if n.endswith('targets.json')), key=len)
        return releases_in(Targets.from_dict(json.loads(bundle[name])['signed']).targets)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UpdateUntrusted(f'the list of releases is damaged: {_line(error)}') from error


class _Documents(FetcherInterface):
    """Gives python-tuf the documents of a bundle in place of a network."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._bundle.get(url.rpartition('/')[2])
        if data is None:
            raise exceptions.DownloadHTTPError(f'{url.rpartition("/")[2]} is not there', 404)
        return iter([data])

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO]:
        """Open a document without the temporary file of the base class."""
        data = b''.join(self.fetch(url))
        if len(data) > max_length:
            raise exceptions.DownloadLengthMismatchError(
                f'{url.rpartition("/")[2]}: {len(data):,} bytes; at most {max_length:,}'
            )
        yield io.BytesIO(data)


def _updater(folder: Path, bundle: Bundle, provisioned: bytes, record: Record) -> Updater:
    """Return python-tuf's client in ``folder``, which then holds what was accepted before."""
    for role, data in record.documents.items():
        (folder / f'{role}.json').write_bytes(data)
    known = record.root if _version(record.root) > _version(provisioned) else provisioned
    fetcher = _Documents(bundle)
    return Updater(str(folder), 'bundle:/', fetcher=fetcher, config=LIMITS, bootstrap=known)


def _new_record(folder: Path, trusted: Any, record: Record) -> Record:
    versions = {'root': trusted.root.version}
    versions |= {role: trusted[role].version for role in ROLES}
    keys = tuple(key for role in ROLES for key in trusted.root.roles[role].keyids)
    held = record.floors if keys == record.keys else {'root': record.floors.get('root', 0)}
    for role, version in versions.items():
        if version < held.get(role, 0):
            raise UpdateUntrusted(
                f'{role} version {version} is older than version {held[role]}, which was '
                'accepted before; the update is refused'
            )
    issued = trusted.timestamp.unrecognized_fields.get(ISSUED, 0)
    if not isinstance(issued, int) or isinstance(issued, bool):
        raise UpdateUntrusted('the timestamp has no time of issue; the update is refused')
    return Record(
        root=(folder / 'root.json').read_bytes(),
        documents={role: (folder / f'{role}.json').read_bytes() for role in ROLES},
        floors=versions,
        keys=keys,
        attested=max(record.attested, float(issued)),
    )


def _version(root: bytes) -> int:
    """Return the version that a root document claims; 0 for none."""
    try:
        return int(json.loads(root)['signed']['version']) if root else 0
    except (KeyError, TypeError, ValueError) as error:
        raise UpdateUntrusted('the root document is damaged; provision the robot anew') from error


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime('%Y-%m-%d %H:%M UTC')


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__
