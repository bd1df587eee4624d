# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from where people keep them: a file, a folder, a zip, a video, a webcam."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import SourceError

SUFFIXES = (  # of all files that this package takes for pictures
    '.jpg',
    '.jpeg',
    '.png',
    '.bmp',
    '.ppm',
    '.pgm',
    '.tif',
    '.tiff',
    '.webp',
)
MAX_PICTURE_BYTES = 64 * 2**20  # of one compressed picture; a zip's members may lie about theirs
# What zipfile raises for a member that is damaged, encrypted or cut short.
ZIP_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError)

Picture = NDArray[np.uint8]  # (rows, columns, 3), BGR


class Source(Protocol):
    """Somewhere that pictures come from."""

    description: str

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        """Give (name, picture), once through; in place of a broken picture, its error."""


def open_source(text: str) -> Source:
    """
    Return the source that ``text`` names: a webcam's index, or the path of a file, folder or zip.

    Raises SourceError where it does not exist, can't be opened or holds no pictures.
    """
    if text.isdecimal():
        return _Video(int(text), f'webcam {text}')
    path = Path(text).expanduser()
    if path.is_dir():
        return _Folder(path)
    if not path.is_file():
        raise SourceError(f'{text}: no such file or folder; give one, or the index of a webcam')
    if path.suffix.lower() in SUFFIXES:
        return _Folder(path.parent, [path])
    if zipfile.is_zipfile(path):
        return _Zip(path)
    return _Video(os.fspath(path), path.name)


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Return the picture in the file at ``path``. Raises SourceError."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f'{path}: {error.strerror or error}; check the path') from error
    return decode_picture(data, os.fspath(path))


def decode_picture(data: bytes, name: str) -> Picture:
    """Return the picture in ``data``, a file's bytes. Raises SourceError, which names it."""
    if len(data) > MAX_PICTURE_BYTES:
        raise SourceError(f'{name}: larger than {MAX_PICTURE_BYTES:,} bytes')
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        picture = None
    if picture is None:
        raise SourceError(f'{name}: not a picture that OpenCV can read')
    return np.asarray(picture, np.uint8)


class _Folder:
    """The pictures below a folder, in the order of their names."""

    def __init__(self, root: Path, paths: list[Path] | None = None) -> None:
        found = root.rglob('*') if paths is None else paths
        self._paths = sorted(p for p in found if p.suffix.lower() in SUFFIXES and p.is_file())
        self.description = f'{_count(self._paths)} of {root}' if paths is None else str(paths[0])
        if not self._paths:
            raise SourceError(f'{root}: holds no pictures ({" ".join(SUFFIXES)})')

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        for path in self._paths:
            yield path.name, _or_error(partial(read_picture, path))


class _Zip:
    """The pictures in a zip file, in the order of their names."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = zipfile.ZipFile(path)
        except ZIP_ERRORS as error:
            raise SourceError(f'{path}: not a readable zip: {error}') from error
        members = (m for m in self._file.infolist() if not m.is_dir())
        self._members = sorted(
            (m for m in members if Path(m.filename).suffix.lower() in SUFFIXES),
            key=lambda member: member.filename,
        )
        self.description = f'{_count(self._members)} of {path}'
        if not self._members:
            raise SourceError(f'{path}: holds no pictures ({" ".join(SUFFIXES)})')

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        for member in self._members:
            yield Path(member.filename).name, _or_error(partial(self._read, member))

    def _read(self, member: zipfile.ZipInfo) -> Picture:
        try:
            with self._file.open(member) as file:
                data = file.read(MAX_PICTURE_BYTES + 1)
        except ZIP_ERRORS as error:
            raise SourceError(f'{self._path}: {member.filename}: {error}') from error
        return decode_picture(data, f'{self._path}: {member.filename}')


class _Video:
    """A video file or a webcam, through OpenCV."""

    def __init__(self, where: int | str, description: str) -> None:
        self._where = where
        self.description = description
        self._capture().release()

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        capture = self._capture()
        try:
            number = 0
            while True:
                taken, picture = capture.read()
                if not taken:
                    return
                yield f'{self.description} {number}', np.asarray(picture, np.uint8)
                number += 1
        finally:
            capture.release()

    def _capture(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._where)
        if not capture.isOpened():
            capture.release()
            hint = 'is it connected?' if isinstance(self._where, int) else 'not a video or picture'
            raise SourceError(f'{self.description}: OpenCV cannot open it; {hint}')
        return capture


def _or_error(read: Callable[[], Picture]) -> Picture | SourceError:
    try:
        return read()
    except SourceError as error:
        return error


def _count(pictures: Sized) -> str:
    return f'{len(pictures)} picture{"s" if len(pictures) != 1 else ""}'
