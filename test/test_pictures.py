# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from files, folders, zips and videos."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from sqz_perception.errors import SourceError
from sqz_perception.pictures import open_source, read_picture


def save(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((6, 8, 3), value, np.uint8))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / 'pictures'
    save(root / 'b.png', 20)
    save(root / 'a.png', 10)
    save(root / 'deeper' / 'c.bmp', 30)
    (root / 'notes.txt').write_text('no picture')
    return root


def values(source: str) -> list[tuple[str, int]]:
    return [(name, int(picture[0, 0, 0])) for name, picture in open_source(source).frames()]


def test_a_folder_in_the_order_of_names(folder: Path) -> None:
    assert values(str(folder)) == [('a.png', 10), ('b.png', 20), ('c.bmp', 30)]
    assert open_source(str(folder)).description == f'3 pictures of {folder}'


def test_a_single_picture(folder: Path) -> None:
    assert values(str(folder / 'b.png')) == [('b.png', 20)]
    assert open_source(str(folder / 'b.png')).description == str(folder / 'b.png')


def test_a_zip(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pictures.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for file in sorted(folder.rglob('*.*')):
            archive.write(file, file.relative_to(folder))
    assert values(str(path)) == [('a.png', 10), ('b.png', 20), ('c.bmp', 30)]


def test_a_broken_picture_does_not_end_the_others(folder: Path) -> None:
    (folder / 'a.png').write_bytes(b'\x89PNG broken')
    (folder / 'aa.png').write_bytes(b'')
    broken, empty, good, _ = [picture for _, picture in open_source(str(folder)).frames()]
    assert isinstance(broken, SourceError)
    assert isinstance(empty, SourceError)
    assert 'a.png: not a picture' in str(broken)
    assert isinstance(good, np.ndarray)


def test_a_damaged_zip_member_is_told(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pictures.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.write(folder / 'a.png', 'a.png')
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    ((_, picture),) = open_source(str(path)).frames()
    assert isinstance(picture, SourceError)
    assert 'a.png' in str(picture)


def test_a_zip_member_that_does_not_inflate_is_told(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pictures.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / 'b.png', 'b.png')
    data = bytearray(path.read_bytes())
    data[35:41] = b'\xff' * 6  # the first bytes behind the member's header
    path.write_bytes(data)
    ((_, picture),) = open_source(str(path)).frames()
    assert isinstance(picture, SourceError)
    assert 'b.png' in str(picture)


def test_a_zip_whose_directory_is_damaged_is_named(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pictures.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.write(folder / 'a.png', 'a.png')
    data = path.read_bytes()
    path.write_bytes(data.replace(b'PK\x01\x02', b'PK\x00\x00'))
    with pytest.raises(SourceError, match=r'pictures\.zip: no readable zip'):
        open_source(str(path))


def test_a_video(tmp_path: Path) -> None:
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for value in (50, 100, 150):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    found = values(str(path))
    assert [round(value, -1) for _, value in found] == [50, 100, 150]
    assert [picture.shape for _, picture in open_source(str(path)).frames()] == [(48, 64, 3)] * 3


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('nowhere', 'no such file or folder'),
        ('empty', 'holds no pictures'),
        ('notes.avi', 'cannot open it'),
        ('99', 'is it connected'),
    ],
)
def test_what_can_not_be_opened(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.avi').write_text('no video')
    with pytest.raises(SourceError, match=message):
        open_source(name if name.isdecimal() else str(tmp_path / name))


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'x\.png: No such file'):
        read_picture(tmp_path / 'x.png')
