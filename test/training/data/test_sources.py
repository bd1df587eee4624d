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
"""Archives, CIFAR-10 and ImageNet: labels, splits, and what is said of folders that are none."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
cifar = pytest.importorskip('torchvision.datasets.cifar')

from class_pictures import COLORS, noisy_picture, png  # noqa: E402
from sqz_perception.errors import SourceError  # noqa: E402
from training.data.pictures import read_split  # noqa: E402
from training.data.sources import ArchiveSource, Cifar10Source, ImageNetSource, Source, distinct  # noqa: E402
from training.errors import DataError  # noqa: E402

GOOD = png(noisy_picture(COLORS['red'], 0))
WNIDS = {'n01': ('crane',), 'n02': ('drake', 'duck'), 'n03': ('crane',)}

ArchiveOf = Callable[[dict[str, bytes]], Path]


def test_a_class_that_is_not_trained_is_refused(archive_of: ArchiveOf) -> None:
    path = archive_of(
        dict.fromkeys(('train/a/1.png', 'train/b/1.png', 'val/c/1.png', 'val/a/1.png'), GOOD)
    )
    with pytest.raises(DataError, match='classes that train/ has not: c'):
        ArchiveSource(str(path))


def test_pictures_and_classes_that_are_not_used_are_named(
    archive_of: ArchiveOf, capsys: pytest.CaptureFixture
) -> None:
    names = ('train/a/1.png', 'train/b/1.png', 'val/a/1.png', 'val/b/1.png')
    ArchiveSource(str(archive_of(dict.fromkeys(names, GOOD))))
    assert capsys.readouterr().err == ''
    names = (*names, 'train/c/1.png', 'train/d.png', 'test/a/1.png')
    assert ArchiveSource(str(archive_of(dict.fromkeys(names, GOOD)))).labels == ('a', 'b', 'c')
    outside, unmeasured = capsys.readouterr().err.splitlines()
    assert 'left out 2 pictures that lie in no train/<class>/ or val/<class>/' in outside
    assert outside.endswith('test/a/1.png, train/d.png')
    assert 'val/ has no pictures of c; add some' in unmeasured


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with CIFAR-10 of 12 pictures: class i of training has i times 20 in red."""
    monkeypatch.setattr(cifar.CIFAR10, '_check_integrity', lambda self: True)
    monkeypatch.setattr(cifar, 'check_integrity', lambda *_: True)
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()
    names = [f'data_batch_{i}' for i in range(1, 6)]
    for i, name in enumerate([*names, 'test_batch']):
        data = np.zeros((2, 3, 32, 32), np.uint8)
        data[:, 0] = np.array([2 * i, 2 * i + 1])[:, None, None] * 20
        batch = {'data': data.reshape(2, -1), 'labels': [2 * i % 10, (2 * i + 1) % 10]}
        (folder / name).write_bytes(pickle.dumps(batch))
    labels = {'label_names': [f'class {i}' for i in range(10)]}
    (folder / 'batches.meta').write_bytes(pickle.dumps(labels))
    return tmp_path


def test_cifar10_is_read_as_its_authors_give_it(cifar10: Path) -> None:
    source = Cifar10Source(str(cifar10))
    assert source.labels == tuple(f'class {i}' for i in range(10))
    train, val = (read_split(source, split, 32) for split in ('train', 'val'))
    assert train.images.shape == (10, 32, 32, 3)
    assert train.targets.tolist() == list(range(10))
    assert train.images[:, 0, 0].tolist() == [[20 * i, 0, 0] for i in range(10)]  # RGB
    assert val.targets.tolist() == [0, 1]


def jpeg(path: Path, bgr: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode('.jpg', noisy_picture(bgr, 0, 40))[1].tobytes())


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """Return a folder with ImageNet of three classes, as torchvision unpacks it."""
    for split, count in (('train', 3), ('val', 1)):
        for wnid, color in zip(WNIDS, COLORS.values(), strict=True):
            for i in range(count):
                jpeg(tmp_path / split / wnid / f'{i}.JPEG', color)
    torch.save((WNIDS, []), tmp_path / 'meta.bin')
    return tmp_path


def test_imagenet_has_a_name_for_each_class(imagenet: Path) -> None:
    source = ImageNetSource(str(imagenet))
    assert source.labels == ('crane (n01)', 'drake, duck', 'crane (n03)')
    train = read_split(source, 'train', 24)
    assert train.targets.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert train.images.float().mean((1, 2)).argmax(1).tolist() == [2] * 3 + [1] * 3 + [0] * 3
    assert [target for _, target in source.split('val')] == [0, 1, 2]


def test_an_unreadable_picture_of_imagenet_is_named(imagenet: Path) -> None:
    (imagenet / 'val' / 'n02' / '0.JPEG').write_bytes(b'broken')
    with pytest.raises(SourceError, match=r'n02/0.JPEG: '):
        read_split(ImageNetSource(str(imagenet)), 'val', 24)


def remove(path: Path) -> None:
    if path.is_dir():
        for child in path.iterdir():
            remove(child)
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize(
    ('gone', 'message'),
    [
        (['meta.bin'], 'has no meta.bin; .*torchvision.datasets.ImageNet'),
        (['train'], 'has no train'),
        (['val/n02'], '3 classes in train/ and 2 in val/'),
        (['val/n02', 'train/n02', 'val/n03', 'train/n03'], '1 classes in train/'),
        (['val/n02/0.JPEG'], 'no valid file for the classes n02'),
    ],
)
def test_what_imagenet_lacks_is_one_line(imagenet: Path, gone: list[str], message: str) -> None:
    for name in gone:
        remove(imagenet / name)
    assert_refused(ImageNetSource, imagenet, message)


def test_a_damaged_list_of_imagenets_classes_is_one_line(imagenet: Path) -> None:
    (imagenet / 'meta.bin').write_bytes(b'broken')
    assert_refused(ImageNetSource, imagenet, 'is not as torchvision.datasets.ImageNet leaves it')


def test_missing_files_of_cifar10_are_one_line(tmp_path: Path) -> None:
    assert_refused(Cifar10Source, tmp_path, 'unpack https://.*cifar-10-python.tar.gz there')


def assert_refused(kind: Callable[[str], Source], path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        kind(str(path))
    assert len(str(refused.value).splitlines()) == 1


def test_labels_that_are_the_same_are_told_apart() -> None:
    assert distinct([('a', 'b'), ('a',), ('a', 'b')], 'xyz') == ('a, b (x)', 'a', 'a, b (z)')
