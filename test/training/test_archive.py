# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Folders and zips of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from class_pictures import noisy_picture, png, write_zip
from sqz_perception.errors import DataError
from training.archive import Archive

PNG = png(noisy_picture((1, 2, 3), 0, 8))


def test_a_folder_and_a_zip_are_the_same(tmp_path: Path) -> None:
    members = {'train/cat/1.png': PNG, 'train/dog/2.png': PNG, 'train/notes.txt': b'x'}
    zipped = Archive(write_zip(tmp_path / 'a.zip', members))
    for name, data in members.items():
        path = tmp_path / 'folder' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder = Archive(tmp_path / 'folder')
    assert zipped.names == folder.names == ('train/cat/1.png', 'train/dog/2.png')
    assert zipped.classes('train') == {'cat': ['train/cat/1.png'], 'dog': ['train/dog/2.png']}
    assert (zipped.picture('train/cat/1.png') == folder.picture('train/cat/1.png')).all()


def test_a_picture_is_decoded_as_bgr(tmp_path: Path) -> None:
    picture = noisy_picture((250, 120, 0), 1, 8)
    archive = Archive(write_zip(tmp_path / 'a.zip', {'a.png': png(picture)}))
    assert (archive.picture('a.png') == picture).all()


def test_a_split_may_lie_deeper(tmp_path: Path) -> None:
    members = {'set/val/cat/1.png': PNG, 'set/val/dog/1.png': PNG, 'set/train/cat/1.png': PNG}
    archive = Archive(write_zip(tmp_path / 'a.zip', members))
    assert list(archive.classes('val')) == ['cat', 'dog']
    assert archive.part('val') == ('set/val/cat/1.png', 'set/val/dog/1.png')


@pytest.mark.parametrize('data', [b'', b'not a picture', PNG[: len(PNG) // 2][:20]])
def test_what_is_no_picture_is_none(tmp_path: Path, data: bytes) -> None:
    archive = Archive(write_zip(tmp_path / 'a.zip', {'a.png': data}))
    assert archive.picture('a.png') is None


def test_a_damaged_member_is_none(tmp_path: Path) -> None:
    path = write_zip(tmp_path / 'a.zip', {'a.png': PNG})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside the first member, which is stored as it is
    path.write_bytes(bytes(data))
    assert Archive(path).picture('a.png') is None


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        ({'train/cat/1.png': PNG}, 'one class only in train/, cat'),
        ({'val/cat/1.png': PNG, 'val/dog/1.png': PNG}, 'no pictures in train/<class>/'),
    ],
)
def test_a_split_that_trains_nothing_is_refused(
    tmp_path: Path, members: dict[str, bytes], message: str
) -> None:
    archive = Archive(write_zip(tmp_path / 'a.zip', members))
    with pytest.raises(DataError, match=message):
        archive.classes('train')


def test_what_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='holds no pictures'):
        Archive(write_zip(tmp_path / 'a.zip', {'readme.txt': b'x'}))
    with pytest.raises(DataError, match='holds no pictures'):
        Archive(tmp_path / '.')  # the zip in it is no picture
    with pytest.raises(DataError, match='does not exist'):
        Archive(tmp_path / 'missing.zip')
    (tmp_path / 'b.zip').write_bytes(b'not a zip')
    with pytest.raises(DataError, match='no readable zip'):
        Archive(tmp_path / 'b.zip')
