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
"""Signed releases: what they are, how they stand in TUF's targets, and which one suits a robot."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqz_perception.errors import UpdateInstalled, UpdateUnsuitable
from sqz_perception.version import VERSION

CUSTOM = 'sqz'  # the key of our fields in a target's custom object
IDENTITY = re.compile(r'[0-9a-f]{64}')


@dataclass(frozen=True)
class File:
    """A signed file: a model, or a delta from the model ``base``."""

    path: str
    sha256: bytes
    length: int
    blocks: bytes  # what receiver.block_hashes gives for it
    base: str  # identity; empty for a whole model


@dataclass(frozen=True)
class Release:
    """A signed release of a model and the files that lead to it."""

    model: str
    number: int
    identity: str
    requires: tuple[int, ...]  # the lowest version of this package
    files: tuple[File, ...]

    def __str__(self) -> str:
        return f'{self.model} release {self.number} ({self.identity[:12]})'

    def way_from(self, identity: str) -> File:
        """Return the delta from that model, else the whole model. Raises UpdateUnsuitable."""
        return self._file(identity) or self.whole()

    def whole(self) -> File:
        """Return the whole model. Raises UpdateUnsuitable."""
        file = self._file('')
        if file is None:
            raise UpdateUnsuitable(f'{self}: there is no whole model; publish one')
        return file

    def _file(self, base: str) -> File | None:
        return next((file for file in self.files if file.base == base), None)


def suitable(
    releases: tuple[Release, ...], model: str, in_use: str, floor: int, failed: frozenset[str]
) -> Release:
    """
    Return the newest release of ``model``. Raises UpdateUnsuitable where it must not be installed.

    ``in_use`` is the identity of the model in use, ``floor`` the highest release that was ever
    committed, ``failed`` the identities of models whose trial failed on this robot.
    """
    own = [release for release in releases if release.model == model]
    if not own:
        others = ', '.join(sorted({release.model for release in releases})) or 'no model'
        raise UpdateUnsuitable(f'the update is for {others}; this robot runs {model}')
    newest = max(own, key=lambda release: release.number)
    if newest.identity == in_use:
        raise UpdateInstalled(f'{newest} is in use already')
    if newest.number <= floor:
        raise UpdateUnsuitable(f'{newest} is not newer than release {floor}, which was installed')
    if newest.identity in failed:
        raise UpdateUnsuitable(f'{newest} failed its trial here; publish a newer release')
    if newest.requires > VERSION:
        raise UpdateUnsuitable(
            f'{newest} needs sqz_perception {_dotted(newest.requires)} or later'
        )
    return newest


def releases_in(targets: Mapping[str, Any]) -> tuple[Release, ...]:
    """
    Return the releases that TUF's targets, ``TargetFile`` by path, describe.

    Raises KeyError, TypeError or ValueError where a field is missing or wrong.
    """
    files: dict[tuple[str, int, str, tuple[int, ...]], list[File]] = {}
    for path, target in targets.items():
        fields = (target.custom or {}).get(CUSTOM)
        if not isinstance(fields, dict):
            continue  # of another tool that shares the repository
        release = (
            _text(fields['model']),
            _number(fields['release']),
            _identity(fields['result']),
            _numbers(fields['requires']),
        )
        base = _identity(fields['base']) if fields['base'] else ''
        blocks = base64.b64decode(fields['blocks'], validate=True)
        sha256 = binascii.unhexlify(target.hashes['sha256'])
        files.setdefault(release, []).append(File(path, sha256, target.length, blocks, base))
    return tuple(Release(*key, tuple(found)) for key, found in files.items())


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError('a field is not a text')
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError('a field is not a whole number')
    return value


def _identity(value: object) -> str:
    if not IDENTITY.fullmatch(_text(value)):
        raise ValueError('a field is not an identity')
    return str(value)


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(int(part) for part in _text(value).split('.'))


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))
