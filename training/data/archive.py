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
List and read the pictures of a folder or a zip. Nothing is decoded before it is asked for.

Links and deeper folders are followed. Hidden files, and those that systems leave beside pictures,
are skipped; any other file that is no picture is named in a warning. This module needs no torch,
so that models can be evaluated without it.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import SourceError
from sqz_perception.pictures import (
    SUFFIXES,
    decode_picture,
    is_hidden,
    is_picture,
    open_zip,
    plain_name,
    read_file,
    read_member,
    walk,
)
from training.errors import DataError, warn

T = TypeVar('T')
SPLITS = ('train', 'val')
SHOWN = 5  # names in a message


class Archive:
    """A folder or a zip of pictures."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        List the pictures and warn of other files.

        Raise DataError where there are no pictures, or no folder and no zip.
        """
        self.path = Path(path).expanduser()
        self._zip: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._opened_by = os.getpid()
        listed = sorted(self._list())
        self.names = tuple(name for name in listed if is_picture(name))
        # Folders too, which end with a slash: a class may hold nothing else.
        self._others = tuple(name for name in listed if not is_picture(name))
        if not self.names:
            raise DataError(f'{self.path} holds no pictures ({" ".join(SUFFIXES)})')
        files = [name for name in self._others if not name.endswith('/')]
        if files:
            kinds = Counter(Path(name).suffix or Path(name).name for name in files)
            found = some([f'{count:,} {kind}' for kind, count in kinds.most_common()])
            warn(
                f'{self.path}: left out {len(files):,} files that are no pictures ({found}), the '
                f'first is {files[0]}; pictures end with {" ".join(SUFFIXES)}'
            )

    def read(self, name: str) -> bytes:
        """Return the bytes of one picture. Raises SourceError, also for too many."""
        if self._zip is None:
            return read_file(self.path / name)
        # A process that was forked from this one and reads through the same opening would move
        # its place for both.
        if self._opened_by != os.getpid():
            self._zip, self._opened_by = zipfile.ZipFile(self.path), os.getpid()
        return read_member(self._zip, self._members[name])

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Decode one picture: uint8 (H, W, 3), BGR. Raises SourceError."""
        return decode_picture(self.read(name), f'{self.path}: {name}')

    def part(self, split: str) -> tuple[str, ...]:
        """Return the pictures that lie under a folder called ``split``, at any depth."""
        return tuple(name for name in self.names if place(name)[:1] == [split])

    def classes(self, split: str) -> dict[str, list[str]]:
        """
        Return class -> its pictures, all below ``<split>/<class>/``, sorted by name.

        Raise DataError where there are none, one class only, or a class without pictures.
        """
        found = _by_class(split, self.names)
        if not found:
            raise DataError(f'{self.path} has no pictures in {split}/<class>/; sort them so')
        empty = sorted(_by_class(split, self._others).keys() - found.keys())
        if empty:
            raise DataError(
                f'{self.path}: {split}/{empty[0]} holds no pictures '
                f'({len(empty)} such folders); put some in, or remove the folder'
            )
        if len(found) == 1:
            raise DataError(
                f'{self.path} has one class only in {split}/, {next(iter(found))}; '
                'a classifier needs two or more'
            )
        return dict(sorted(found.items()))

    def _list(self) -> Iterable[str]:
        try:
            if self.path.is_dir():
                return self._walk()
            if not self.path.is_file():
                raise DataError(f'{self.path} does not exist; give a folder or a zip of pictures')
            self._zip = open_zip(self.path)
        except (OSError, SourceError) as error:
            raise DataError(str(error)) from error
        members = {plain_name(member.filename): member for member in self._zip.infolist()}
        self._members = {name: m for name, m in members.items() if not is_hidden(name)}
        return self._members

    def _walk(self) -> list[str]:
        names = list(walk(self.path))
        others = (name for name in names if not name.endswith('/') and not is_picture(name))
        lost = [name for name in others if not (self.path / name).is_file()]
        if lost:  # a class may be a link to nothing
            raise DataError(
                f'{self.path}: {lost[0]} is a link to nothing, or no file; repair or remove it'
            )
        return names


def place(name: str) -> list[str]:
    """Return the folders that a file lies in, from its split's on; none outside of the splits."""
    folders = name.split('/')[:-1]
    first = next((i for i, folder in enumerate(folders) if folder in SPLITS), len(folders))
    return folders[first:]


def evenly(items: Sequence[T], most: int) -> tuple[T, ...]:
    """Return ``most`` of ``items``, taken evenly, or all where they are no more."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[i * len(items) // most] for i in range(most))


def some(names: Sequence[str]) -> str:
    """Return the first few of ``names`` for a message."""
    more = f' and {len(names) - SHOWN:,} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def _by_class(split: str, names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        where = place(name)
        if len(where) > 1 and where[0] == split:
            found.setdefault(where[1], []).append(name)
    return found
