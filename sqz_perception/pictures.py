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
Read pictures from where people keep them: a file, a folder, a zip, a video, a webcam.

Training reads its pictures with the same functions and the same limits.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sized
from functools import partial
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from sqz_perception import formats
from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameError,
    FrameOversized,
    SourceError,
)
from sqz_perception.formats import Picture, reason
from sqz_perception.video import Video, file_backends

# Of all files that this package takes for pictures.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.pbm', '.tif', '.tiff', '.webp')
SIDE_FILES = ('__MACOSX', '@eaDir', 'Thumbs.db', 'desktop.ini')  # of macOS, Synology, Windows
MAX_PIXELS = 64 * 2**20  # of one picture; a phone's 50 megapixels fit
MAX_PICTURE_BYTES = 64 * 2**20  # of one picture as it is stored
MAX_ZIP_RATIO = 100  # bytes that one byte of a zip may become ...
FREE_ZIP_BYTES = 256 * 2**20  # ... beyond these
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others inflate without a limit
# What zipfile raises for a file or a member that is damaged, encrypted or cut short.
ZIP_ERRORS = (
    *(OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError),
    *(ValueError, LookupError, struct.error),
)
VIDEO4LINUX = 81  # major number of its devices
REMEDIES = {
    FrameCorrupt: 'replace the file',
    FrameEmpty: 'replace the file',
    FrameEncodingUnknown: 'convert it to JPEG or PNG',
    FrameOversized: 'reduce its size',
}


class Source(Protocol):
    """Somewhere that pictures come from."""

    description: str

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        """Give (name, picture), once through; in place of a broken picture, its error."""


def open_source(text: str) -> Source:
    """
    Return the source that ``text`` names: a webcam's index, or a path.

    The path is that of a picture, a folder, a zip, a video or a camera's device. Raises
    SourceError where it does not exist, can't be opened or holds no pictures.
    """
    if text.isdecimal():
        return Video(int(text), f'webcam {text}', MAX_PIXELS)
    path = Path(text)
    try:
        path = path.expanduser()
        kind = path.stat()
    except FileNotFoundError as error:
        raise SourceError(
            f'{text}: no such file or folder; give one, or the index of a webcam'
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # ~nobody, a null byte
        raise SourceError(f'{text}: {reason(error)}; check the path') from error
    if stat.S_ISDIR(kind.st_mode):
        return _Folder(path)
    if stat.S_ISCHR(kind.st_mode) and os.major(kind.st_rdev) == VIDEO4LINUX:
        return Video(os.fspath(path), f'camera {path}', MAX_PIXELS, (cv2.CAP_V4L2,))
    _check_regular(
        path, kind, 'give a picture, a folder, a zip, a video or a camera as in /dev/video0'
    )
    if path.suffix.lower() in SUFFIXES:
        return _Folder(path.parent, [path])
    if zipfile.is_zipfile(path):
        return _Zip(path)
    return Video(os.fspath(path), path.name, MAX_PIXELS, file_backends())


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Return the picture in the file at ``path``. Raises SourceError."""
    return decode_picture(read_file(path), os.fspath(path))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a picture's file. Raises SourceError, also for too many bytes."""
    try:
        _check_regular(path, os.stat(path), 'give the file of a picture')
        with open(path, 'rb') as file:
            return _limited(file.read(MAX_PICTURE_BYTES + 1), path)
    except (OSError, ValueError) as error:
        raise SourceError(f'{path}: {reason(error)}; check the path') from error


def decode_picture(data: bytes, name: str) -> Picture:
    """Return the picture in ``data``, a file's bytes. Raises SourceError, which names it."""
    if not data:
        raise SourceError(f'{name}: empty; replace the file')
    try:
        header = formats.inspect(np.frombuffer(_limited(data, name), np.uint8), MAX_PIXELS)
        return formats.decode(header, cv2.IMREAD_COLOR)
    except FrameError as error:
        raise SourceError(f'{name}: {error}; {REMEDIES[type(error)]}') from error


def open_zip(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Return the zip at ``path``, whose members are of a likely size. Raises SourceError."""
    try:
        file = zipfile.ZipFile(path)
        size = os.path.getsize(path)
    except ZIP_ERRORS as error:
        raise SourceError(f'{path}: no readable zip: {reason(error)}; copy it again') from error
    members = file.infolist()
    if sum(member.compress_size for member in members) > size:
        raise SourceError(f'{path}: members of the zip overlap; pack the pictures again')
    total = sum(member.file_size for member in members)
    if total > max(FREE_ZIP_BYTES, MAX_ZIP_RATIO * size):
        raise SourceError(
            f'{path}: {size:,} bytes would become {total:,}; unpack it and give the folder'
        )
    return file


def read_member(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a picture in a zip. Raises SourceError, also for too many bytes."""
    name = f'{file.filename}: {member.filename}'
    if member.compress_type not in ZIP_METHODS:
        raise SourceError(f'{name}: packed by method {member.compress_type}; pack it with deflate')
    try:
        with file.open(member) as opened:
            return _limited(opened.read(MAX_PICTURE_BYTES + 1), name)
    except ZIP_ERRORS as error:
        raise SourceError(f'{name}: {reason(error)}; pack it again') from error


def plain_name(name: str) -> str:
    """Return a zip member's name without what some programs write: backslashes and ``./``."""
    return name.replace('\\', '/').removeprefix('./')


def is_hidden(name: str) -> bool:
    """Return whether a part of a path is hidden, or what a system leaves beside pictures."""
    return any(part.startswith('.') or part in SIDE_FILES for part in name.split('/'))


def is_picture(name: str) -> bool:
    """Return whether a path is that of a picture, by its suffix."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def walk(root: Path) -> Iterator[str]:
    """
    Give all that lies below a folder and is not hidden; folders end with a slash.

    Links are followed, also where they lead nowhere. Raises SourceError for a folder that can't
    be read.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [('', frozenset())]
    while waiting:
        inside, above = waiting.pop()
        try:
            status = (root / inside).stat()
            entries = [entry for entry in os.scandir(root / inside) if not is_hidden(entry.name)]
        except OSError as error:
            raise SourceError(f'{root / inside}: {reason(error)}; check the path') from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a link to a folder that it lies in
            continue
        for entry in entries:
            name = inside + entry.name
            if entry.is_dir():
                waiting.append((f'{name}/', above | {identity}))
                name += '/'
            yield name


class _Folder:
    """The pictures below a folder, in the order of their names."""

    def __init__(self, root: Path, paths: list[Path] | None = None) -> None:
        if paths is None:
            self._paths = [root / name for name in sorted(walk(root)) if is_picture(name)]
        else:
            self._paths = paths
        self.description = f'{_count(self._paths)} of {root}' if paths is None else str(paths[0])
        if not self._paths:
            raise SourceError(f'{root}: holds no pictures ({" ".join(SUFFIXES)})')

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        for path in self._paths:
            yield path.name, _or_error(partial(read_picture, path), path)


class _Zip:
    """The pictures in a zip file, in the order of their names."""

    def __init__(self, path: Path) -> None:
        self._file = open_zip(path)
        self._members = sorted(
            (m for m in self._file.infolist() if is_picture(plain_name(m.filename))),
            key=lambda member: member.filename,
        )
        self.description = f'{_count(self._members)} of {path}'
        if not self._members:
            raise SourceError(f'{path}: holds no pictures ({" ".join(SUFFIXES)})')

    def frames(self) -> Iterator[tuple[str, Picture | SourceError]]:
        for member in self._members:
            yield (
                Path(plain_name(member.filename)).name,
                _or_error(partial(self._read, member), member.filename),
            )

    def _read(self, member: zipfile.ZipInfo) -> Picture:
        return decode_picture(
            read_member(self._file, member), f'{self._file.filename}: {member.filename}'
        )


def _check_regular(path: str | os.PathLike[str], kind: os.stat_result, remedy: str) -> None:
    if not stat.S_ISREG(kind.st_mode):
        what = {stat.S_IFIFO: 'a pipe', stat.S_IFSOCK: 'a socket', stat.S_IFDIR: 'a folder'}
        found = what.get(stat.S_IFMT(kind.st_mode), 'a device, but no camera')
        raise SourceError(f'{path}: {found}; {remedy}')


def _limited(data: bytes, name: str | os.PathLike[str]) -> bytes:
    if len(data) > MAX_PICTURE_BYTES:
        raise SourceError(f'{name}: exceeds {MAX_PICTURE_BYTES:,} bytes; reduce its size')
    return data


def _or_error(read: Callable[[], Picture], name: str | os.PathLike[str]) -> Picture | SourceError:
    """Return what ``read`` does, or its error: no picture ends those that come after it."""
    try:
        return read()
    except SourceError as error:
        return error
    except Exception as error:
        return SourceError(f'{name}: {type(error).__name__}: {reason(error)}; replace the file')


def _count(pictures: Sized) -> str:
    return f'{len(pictures)} picture{"s" if len(pictures) != 1 else ""}'
