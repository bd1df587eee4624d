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
A repository of releases read from a folder, a USB stick, or a web server.

Nothing read here is trusted: ``trust`` verifies the documents, and a file is checked against its
signed length and hash.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote

from sqz_perception.errors import UpdateError
from sqz_perception.update.release import File
from sqz_perception.update.trust import LIMITS, Bundle

TIMEOUT = 10.0  # seconds without a byte


def bundle(place: str) -> Bundle:
    """Return the documents of the repository's current publication. Raises UpdateError."""
    timestamp = _read(place, 'metadata/timestamp.json', LIMITS.timestamp_max_length)
    snapshot_name = f'{_version(timestamp, "snapshot")}.snapshot.json'
    snapshot = _read(place, f'metadata/{snapshot_name}', LIMITS.snapshot_max_length)
    targets_name = f'{_version(snapshot, "targets")}.targets.json'
    targets = _read(place, f'metadata/{targets_name}', LIMITS.targets_max_length)
    documents = {'timestamp.json': timestamp, snapshot_name: snapshot, targets_name: targets}
    return {**documents, **dict(_roots(place))}


def fetch(place: str, wanted: File) -> bytes:
    """Return a signed file. Raises UpdateError where it is missing or has not its hash."""
    folder, _, name = wanted.path.rpartition('/')
    data = _read(place, f'targets/{folder}/{wanted.sha256.hex()}.{name}', wanted.length)
    if hashlib.sha256(data).digest() != wanted.sha256:
        raise UpdateError(f'{place}: {wanted.path} is damaged; copy the repository again')
    return data


def _roots(place: str) -> Iterator[tuple[str, bytes]]:
    for version in count(2):
        name = f'{version}.root.json'
        if version > LIMITS.max_root_rotations + 1:
            return
        try:
            yield name, _read(place, f'metadata/{name}', LIMITS.root_max_length)
        except _NotThere:
            return


def _version(document: bytes, role: str) -> int:
    try:
        return int(json.loads(document)['signed']['meta'][f'{role}.json']['version'])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise UpdateError(f'a document that should name {role}.json does not') from error


class _NotThere(UpdateError):
    """The file does not exist."""


def _read(place: str, path: str, limit: int) -> bytes:
    if place.startswith(('http://', 'https://')):
        data = _download(f'{place.rstrip("/")}/{quote(path)}', limit)
    else:
        data = _from_folder(Path(place) / path, limit)
    if len(data) > limit:
        raise UpdateError(f'{place}: {path} has more than {limit:,} bytes')
    return data


def _from_folder(path: Path, limit: int) -> bytes:
    try:
        with path.open('rb') as file:
            return file.read(limit + 1)
    except FileNotFoundError as error:
        raise _NotThere(f'{path}: no such file; is the repository there?') from error
    except OSError as error:
        raise UpdateError(f'{path}: {error.strerror or error}; check update_source') from error


def _download(url: str, limit: int) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            return bytes(response.read(limit + 1))
    except urllib.error.HTTPError as error:
        kind = _NotThere if error.code in (403, 404) else UpdateError
        raise kind(f'{url}: {error.code} {error.reason}') from error
    except (OSError, ValueError) as error:
        raise UpdateError(f'{url}: {error}; check update_source and the network') from error
