# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The pictures of a folder or a zip, by name. Nothing is decoded before it is asked for.

This module needs no torch, so that models can be evaluated without it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import DataError, SourceError
from sqz_perception.pictures import SUFFIXES, ZIP_ERRORS, decode_picture

T = TypeVar('T')


class Archive:
    """A folder or a zip of pictures."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """List the pictures. Raise DataError where there are none, or no folder and no zip."""
        self.path = Path(path).expanduser()
        self._zip: zipfile.ZipFile | None = None
        self._opened_by = os.getpid()
        found = sorted(name for name in self._list() if name.lower().endswith(SUFFIXES))
        if not found:
            raise DataError(f'{self.path} holds no pictures ({" ".join(SUFFIXES)})')
        self.names = tuple(found)

    def read(self, name: str) -> bytes:
        """Return the bytes of one file. Raises what ``ZIP_ERRORS`` lists."""
        if self._zip is None:
            return (self.path / name).read_bytes()
        # A process that was forked from this one and reads through the same opening would move
        # its place for both.
        if self._opened_by != os.getpid():
            self._zip, self._opened_by = zipfile.ZipFile(self.path), os.getpid()
        return self._zip.read(name)

    def picture(self, name: str) -> NDArray[np.uint8] | None:
        """Decode one picture: uint8 (H, W, 3), BGR; None where that can't be done."""
        try:
            return decode_picture(self.read(name), name)
        except (SourceError, *ZIP_ERRORS):
            return None

    def decoded(self, name: str) -> NDArray[np.uint8]:
        """Decode one picture, as ``picture`` does. Raise DataError where that can't be done."""
        picture = self.picture(name)
        if picture is None:
            raise DataError(f"{self.path}: {name} can't be decoded; remove or replace it")
        return picture

    def part(self, split: str) -> tuple[str, ...]:
        """Return the pictures that lie under a folder called ``split``, at any depth."""
        return tuple(name for name in self.names if split in name.split('/')[:-1])

    def classes(self, split: str) -> dict[str, list[str]]:
        """
        Return class -> its pictures, of ``<split>/<class>/<picture>``, sorted by name.

        Raise DataError where there are none, or one class only.
        """
        found: dict[str, list[str]] = {}
        for name in self.names:
            parts = name.split('/')
            if len(parts) >= 3 and parts[-3] == split:
                found.setdefault(parts[-2], []).append(name)
        if not found:
            raise DataError(f'{self.path} has no pictures in {split}/<class>/; sort them so')
        if len(found) == 1:
            raise DataError(
                f'{self.path} has one class only in {split}/, {next(iter(found))}; '
                'a classifier needs two or more'
            )
        return dict(sorted(found.items()))

    def _list(self) -> list[str]:
        if self.path.is_dir():
            return [p.relative_to(self.path).as_posix() for p in self.path.rglob('*')]
        if not self.path.is_file():
            raise DataError(f'{self.path} does not exist; give a folder or a zip of pictures')
        try:
            self._zip = zipfile.ZipFile(self.path)
        except ZIP_ERRORS as error:
            raise DataError(f'{self.path} is no folder and no readable zip: {error}') from error
        return self._zip.namelist()


def evenly(items: Sequence[T], most: int) -> tuple[T, ...]:
    """Return ``most`` of ``items``, taken evenly, or all where they are no more."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[i * len(items) // most] for i in range(most))
