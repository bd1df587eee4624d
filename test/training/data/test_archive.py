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
"""Folders and zips of pictures."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from class_pictures import noisy_picture, png, write_zip
from sqz_perception import pictures
from sqz_perception.errors import SourceError
from training.data.archive import SPLITS, Archive
from training.errors import DataError

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
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    archive = Archive(write_zip(tmp_path / 'a.zip', {'a.png': data}))
    with pytest.raises(SourceError, match='a.zip: a.png: '):
        archive.picture('a.png')


def test_a_damaged_member_is_refused_by_name(tmp_path: Path) -> None:
    path = write_zip(tmp_path / 'a.zip', {'a.png': PNG})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside the first member, which is stored as it is
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match='a.png: '):
        Archive(path).picture('a.png')


def test_a_member_that_inflates_without_end_is_read_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a.png', PNG + bytes(2**20))
    monkeypatch.setattr(pictures, 'MAX_PICTURE_BYTES', 2**16)
    with pytest.raises(SourceError, match='a.png: .*65,536 bytes'):
        Archive(tmp_path / 'a.zip').picture('a.png')


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def test_links_and_deeper_folders_are_followed_but_not_in_a_circle(tmp_path: Path) -> None:
    root = tree(tmp_path / 'set', 'train/cat/1.png', 'train/dog/monday/am/2.PNG')
    tree(tmp_path / 'elsewhere', '3.tif', 'more/4.ppm')
    (root / 'train' / 'owl').symlink_to(tmp_path / 'elsewhere')
    (root / 'train' / 'dog' / 'again').symlink_to(root / 'train')
    (tmp_path / 'elsewhere' / 'itself').symlink_to(tmp_path / 'elsewhere')
    assert Archive(root).classes('train') == {
        'cat': ['train/cat/1.png'],
        'dog': ['train/dog/monday/am/2.PNG'],
        'owl': ['train/owl/3.tif', 'train/owl/more/4.ppm'],
    }


HIDDEN = (
    'train/.ipynb_checkpoints/1.png',
    'train/cat/._1.png',
    'train/cat/.thumbs/1.png',
    'train/@eaDir/1.png',
    'train/cat/.DS_Store',
    'train/cat/Thumbs.db',
    '__MACOSX/train/cat/._1.png',
)


@pytest.mark.parametrize('zipped', [False, True])
def test_hidden_files_are_skipped_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture, zipped: bool
) -> None:
    names = ('train/cat/1.png', 'train/dog/1.png')
    where = tmp_path / '.cache' / 'set'  # the path to the archive may be hidden
    path = tree(where, *names, *HIDDEN)
    if zipped:
        path = write_zip(tmp_path / 'a.zip', dict.fromkeys((*names, *HIDDEN), PNG))
    archive = Archive(path)
    assert archive.names == names
    assert list(archive.classes('train')) == ['cat', 'dog']
    assert capsys.readouterr().err == ''


def test_a_zip_with_backslashes_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
        for name in ('train\\cat\\1.png', 'train\\dog\\', '.\\train\\dog\\1.png'):
            entry = zipfile.ZipInfo('x')
            entry.filename = name
            file.writestr(entry, PNG)
    archive = Archive(tmp_path / 'a.zip')
    assert archive.classes('train') == {'cat': ['train/cat/1.png'], 'dog': ['train/dog/1.png']}
    assert archive.picture('train/dog/1.png').shape == (8, 8, 3)


def test_other_files_are_named_in_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tree(tmp_path, 'train/cat/1.png', 'train/cat/2.heic', 'train/cat/3.heic', 'README')
    Archive(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert 'warning: ' in line
    assert 'left out 3 files that are no pictures (2 .heic, 1 README), the first is README' in line
    monkeypatch.setenv('RANK', '1')  # a second process of one training
    Archive(path)
    assert capsys.readouterr().err == ''


def test_a_class_may_be_called_as_a_split(tmp_path: Path) -> None:
    archive = Archive(
        tree(tmp_path, *(f'{s}/{c}/1.png' for s in SPLITS for c in ('train', 'car')))
    )
    assert list(archive.classes('train')) == list(archive.classes('val')) == ['car', 'train']
    assert archive.part('val') == ('val/car/1.png', 'val/train/1.png')


@pytest.mark.parametrize('zipped', [False, True])
def test_a_class_without_pictures_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tree(tmp_path / 'set', 'train/cat/1.png', 'train/dog/1.png', 'train/owl/1.heic')
    if zipped:
        names = ('train/cat/1.png', 'train/dog/1.png', 'train/owl/')
        path = write_zip(tmp_path / 'a.zip', dict.fromkeys(names, PNG))
    with pytest.raises(DataError, match='train/owl holds no pictures'):
        Archive(path).classes('train')


def test_a_link_to_nothing_is_refused_by_name(tmp_path: Path) -> None:
    path = tree(tmp_path / 'set', 'train/cat/1.png')
    (path / 'train' / 'owl').symlink_to(tmp_path / 'gone')
    with pytest.raises(DataError, match='train/owl is a link to nothing'):
        Archive(path)


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
