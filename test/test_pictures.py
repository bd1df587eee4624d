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
"""Pictures from files, folders, zips and videos."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile_pictures import black_png, encoded, gif_claiming
from sqz_perception import formats
from sqz_perception.errors import SourceError
from sqz_perception.pictures import (
    MAX_PICTURE_BYTES,
    VIDEO4LINUX,
    decode_picture,
    open_source,
    read_picture,
)

FLAT = np.full((6, 8, 3), 128, np.uint8)
JPEG, PNG = encoded('.jpg', FLAT), encoded('.png', FLAT)


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


def values(source: str) -> list[tuple[str, int | None]]:
    return [
        (name, None if isinstance(picture, SourceError) else int(picture[0, 0, 0]))
        for name, picture in open_source(source).frames()
    ]


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


def test_a_zip_as_windows_and_macos_write_it(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / 'pictures.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for name in ('set\\a.png', '.\\b.png', './c.png', '__MACOSX\\set\\a.png', 'set\\._a.png'):
            entry = zipfile.ZipInfo('x')
            entry.filename = name
            archive.writestr(entry, (folder / 'a.png').read_bytes())
    assert {name for name, _ in values(str(path))} == {'a.png', 'b.png', 'c.png'}


def test_links_are_followed_and_hidden_files_left_out(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / 'elsewhere' / 'd.png', 40)
    (folder / 'link').symlink_to(tmp_path / 'elsewhere')
    (folder / 'deeper' / 'loop').symlink_to(folder)
    (folder / 'gone.png').symlink_to(tmp_path / 'nowhere.png')
    save(folder / '.ipynb_checkpoints' / 'e.png', 50)
    save(folder / '.f.png', 60)
    save(folder / '__MACOSX' / 'g.png', 70)
    assert values(str(folder)) == [
        *(('a.png', 10), ('b.png', 20), ('c.bmp', 30)),
        ('gone.png', None),
        ('d.png', 40),
    ]


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


def video(path: Path, width: int = 64, height: int = 48) -> bytearray:
    """Write a video of three frames, and return its bytes."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (width, height))
    for value in (50, 100, 150):
        writer.write(np.full((height, width, 3), value, np.uint8))
    writer.release()
    return bytearray(path.read_bytes())


def test_a_video_that_claims_huge_frames_is_refused_before_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'clip.avi'
    data = video(path)
    struct.pack_into('<ii', data, data.index(b'strf') + 12, 16000, 16000)
    for place in (found.start() for found in re.finditer(b'\xff\xc0', data)):
        struct.pack_into('>HH', data, place + 5, 16000, 16000)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r'clip\.avi: frames of 16000x16000 exceed 67,108,864'):
        open_source(str(path))


def test_a_video_without_a_readable_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'clip.avi'
    data = video(path)
    place = data.index(b'movi') + 4
    path.write_bytes(data[:place] + bytes(len(data) - place))
    with pytest.raises(SourceError, match=r'clip\.avi: .*(no readable frame|cannot open it)'):
        list(open_source(str(path)).frames())


def test_a_video_that_breaks_off_gives_the_frames_before(tmp_path: Path) -> None:
    path = tmp_path / 'clip.avi'
    data = video(path)
    path.write_bytes(data[: data.rindex(b'00dc', 0, data.index(b'idx1')) + 20])
    assert 2 <= len(values(str(path))) <= 3


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('nowhere', 'no such file or folder'),
        ('empty', 'holds no pictures'),
        ('notes.avi', 'cannot open it'),
        ('99', 'is it connected'),
        ('9' * 30, 'is it connected'),
        ('pipe', 'a pipe; give a picture'),
        ('pipe.png', 'a pipe; give a picture'),
        ('socket', 'a socket; give a picture'),
        ('notes.avi/a.png', 'check the path'),
        ('x' * 300, 'File name too long; check the path'),
        ('nul\0l', 'check the path'),
    ],
)
def test_what_can_not_be_opened(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.avi').write_text('no video')
    for pipe in ('pipe', 'pipe.png'):
        os.mkfifo(tmp_path / pipe)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / 'socket'))
    with pytest.raises(SourceError, match=message) as caught:
        open_source(name if name.isdecimal() else str(tmp_path / name))
    assert '\n' not in str(caught.value)


def test_a_home_of_nobody_is_named() -> None:
    with pytest.raises(SourceError, match='~nobody-has-this-name/a.png: .*check the path'):
        open_source('~nobody-has-this-name/a.png')


@pytest.mark.parametrize('device', ['/dev/null', '/dev/zero', '/dev/tty'])
def test_a_device_that_is_no_camera_is_refused(device: str) -> None:
    with pytest.raises(SourceError, match=f'{device}: a device, but no camera; .*/dev/video0'):
        open_source(device)
    with pytest.raises(SourceError, match=f'{device}: a device, but no camera'):
        read_picture(device)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root makes devices')
def test_a_camera_is_opened_by_the_path_of_its_device(tmp_path: Path) -> None:
    camera = tmp_path / 'front'
    try:
        os.mknod(camera, 0o600 | stat.S_IFCHR, os.makedev(VIDEO4LINUX, 250))
    except PermissionError:
        pytest.skip('no devices can be made here')
    with pytest.raises(SourceError, match=f'camera {camera}: OpenCV cannot open it; is it conn'):
        open_source(str(camera))


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Return a folder of somebody who is not root."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if user == 0:
                os.seteuid(0)


def test_what_may_not_be_read_is_named(unprivileged: Path) -> None:
    picture = save(unprivileged / 'shut' / 'a.png', 1)
    os.chmod(picture, 0)
    ((_, found),) = open_source(str(picture)).frames()
    assert isinstance(found, SourceError)
    assert str(found) == f'{picture}: Permission denied; check the path'
    os.chmod(picture.parent, 0)
    for path in (picture.parent, picture):
        with pytest.raises(SourceError, match='Permission denied; check the path'):
            open_source(str(path))
    os.chmod(picture.parent, 0o700)


def test_a_picture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r'x\.png: No such file'):
        read_picture(tmp_path / 'x.png')


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (gif_claiming(65535, 65535), 'not a picture of a known format.*convert it to JPEG or PNG'),
        (black_png(8200, 8200, 1, 0), '8200x8200 exceeds 67,108,864 pixels; reduce its size'),
        (PNG[:-30], 'cut off or damaged; replace the file'),
        (JPEG[:-1], 'cut off after .* bytes; replace the file'),
        (b'', 'empty; replace the file'),
        (bytes(MAX_PICTURE_BYTES + 1), 'exceeds 67,108,864 bytes; reduce its size'),
    ],
)
def test_a_picture_that_can_not_be_used_says_why(data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=f'a.png: .*{message}'):
        decode_picture(data, 'a.png')


def test_a_file_too_large_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / 'a.png'
    with path.open('wb') as file:
        file.truncate(2**40)  # a hole; reading it would need a terabyte
    with pytest.raises(SourceError, match='exceeds 67,108,864 bytes'):
        read_picture(path)


def test_photographs_are_turned_as_their_camera_says() -> None:
    tiff = b'Exif\0\0MM\0*\0\0\0\x08' + struct.pack('>HHHIHHI', 1, 0x112, 3, 1, 6, 0, 0)
    turned = JPEG[:2] + b'\xff\xe1' + struct.pack('>H', len(tiff) + 2) + tiff + JPEG[2:]
    assert decode_picture(JPEG, 'a').shape == (6, 8, 3)
    assert decode_picture(turned, 'a').shape == (8, 6, 3)


def zipped(path: Path, data: bytes, method: int = zipfile.ZIP_DEFLATED, count: int = 1) -> Path:
    with zipfile.ZipFile(path, 'w', method) as archive:
        for i in range(count):
            archive.writestr(f'{i:02}.png', data)
    return path


def test_a_zip_s_members_are_read_up_to_their_limit(tmp_path: Path) -> None:
    path = zipped(tmp_path / 'a.zip', bytes(MAX_PICTURE_BYTES + 1))
    ((_, found),) = open_source(str(path)).frames()
    assert '00.png: exceeds 67,108,864 bytes; reduce its size' in str(found)


def test_a_zip_that_inflates_beyond_measure_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / 'a.zip', PNG, count=4)
    data = bytearray(path.read_bytes())
    for found in re.finditer(b'PK\1\2', data):
        struct.pack_into('<I', data, found.start() + 24, 100 * 2**20)
    path.write_bytes(data)
    with pytest.raises(SourceError, match='would become 419,430,400; unpack it'):
        open_source(str(path))


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_can_not_be_limited_is_refused(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / 'a.zip', PNG, method)
    ((_, found),) = open_source(str(path)).frames()
    assert f'00.png: packed by method {method}; pack it with deflate' in str(found)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / 'a.zip', PNG, zipfile.ZIP_STORED, count=40).read_bytes())
    place = data.index(b'PK\1\2')
    body = bytes(data[: data.index(b'PK\3\4', 4)])
    directory = bytes(data[place:-22])
    for start in range(0, len(directory), len(directory) // 40):  # all are the first member
        struct.pack_into('<I', data, place + start + 42, 0)
    end = struct.pack('<4sHHHHIIH', b'PK\5\6', 0, 0, 40, 40, len(directory), len(body), 0)
    (tmp_path / 'b.zip').write_bytes(body + bytes(data[place:-22]) + end)
    with pytest.raises(SourceError, match='members of the zip overlap'):
        open_source(str(tmp_path / 'b.zip'))


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 10**6),
)
def test_a_damaged_zip_gives_a_source_error_at_worst(
    changes: list[tuple[int, int]], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = zipped(Path(folder) / 'a.zip', PNG, count=2)
        data = bytearray(path.read_bytes())
        for place, value in changes:
            data[-1 - place % (200 if value % 2 else len(data))] = value
        if cut % 3 == 0:
            del data[cut % len(data) :]
        path.write_bytes(data)
        try:
            found = [picture for _, picture in open_source(str(path)).frames()]
        except SourceError as error:
            assert '\n' not in str(error)
        else:
            assert all(isinstance(p, SourceError) or p.shape == (6, 8, 3) for p in found)


def test_another_error_while_a_picture_is_read_skips_that_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(formats, 'inspect', fail)
    found = [picture for _, picture in open_source(str(folder)).frames()]
    assert len(found) == 3
    assert all('MemoryError' in str(error) for error in found)
