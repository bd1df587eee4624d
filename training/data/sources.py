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
Where pictures to train on come from: an archive, or the data sets that torchvision knows.

All have two splits, ``train`` and ``val``, and names for their classes. Nothing is decoded before
it is asked for.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torchvision import datasets

from sqz_perception.pictures import read_picture
from training.data.archive import SPLITS, Archive, place, some
from training.errors import DataError, warn

# What torchvision raises for files that are missing, damaged or not what they should be.
DATASET_ERRORS = (
    *(OSError, RuntimeError, EOFError, pickle.UnpicklingError),
    *(AttributeError, LookupError, TypeError, ValueError),  # bytes that are no pickle
)

Listed = Sequence[tuple[str, int]]  # a picture's name and the number of its class


class Source(Protocol):
    """Pictures with known classes."""

    path: Path
    labels: tuple[str, ...]  # the classes' names

    def split(self, name: str) -> Listed:
        """Return the pictures of a split, always in the same order."""

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Decode one picture: uint8 (H, W, 3), BGR. Raises SourceError."""


class ArchiveSource:
    """A folder or a zip with ``train/<class>/`` and ``val/<class>/``."""

    def __init__(self, path: str) -> None:
        """
        Warn of pictures that lie in no class, and of classes without validation pictures.

        Raise DataError for a split or a class folder without pictures, and for classes of no
        training picture.
        """
        self._archive = Archive(path)
        self.path, self.picture = self._archive.path, self._archive.picture
        classes = {split: self._archive.classes(split) for split in SPLITS}
        self.labels = tuple(classes['train'])
        unknown = [label for label in classes['val'] if label not in classes['train']]
        if unknown:
            raise DataError(
                f'{path}: val/ has classes that train/ has not: {", ".join(unknown)}; '
                'add pictures to train on or remove them'
            )
        self._warn()
        number = {label: i for i, label in enumerate(self.labels)}
        self._splits = {
            split: [(name, number[label]) for label, names in found.items() for name in names]
            for split, found in classes.items()
        }

    def split(self, name: str) -> Listed:
        """Return the pictures of a split, class after class."""
        return self._splits[name]

    def _warn(self) -> None:
        outside = [name for name in self._archive.names if len(place(name)) < 2]
        if outside:
            warn(
                f'{self.path}: left out {len(outside):,} pictures that lie in no train/<class>/ '
                f'or val/<class>/: {some(outside)}'
            )
        unmeasured = [label for label in self.labels if label not in self._archive.classes('val')]
        if unmeasured:
            warn(f'{self.path}: val/ has no pictures of {some(unmeasured)}; add some')


class Cifar10Source:
    """CIFAR-10 as its authors give it, in Python's pickles; validated on its test pictures."""

    def __init__(self, path: str) -> None:
        """Raise DataError where the files are missing or damaged."""
        self.path = Path(path).expanduser()
        try:
            self._sets = {
                split: datasets.CIFAR10(str(self.path), train=split == 'train') for split in SPLITS
            }
        except DATASET_ERRORS as error:
            cifar = datasets.CIFAR10
            raise DataError(
                f'{self.path} holds no whole {cifar.base_folder}/; unpack {cifar.url} there'
            ) from error
        self.labels = tuple(self._sets['train'].classes)
        self._splits = {
            split: [(f'{split}/{i}', target) for i, target in enumerate(found.targets)]
            for split, found in self._sets.items()
        }

    def split(self, name: str) -> Listed:
        """Return the pictures of a split, named by their number."""
        return self._splits[name]

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Return uint8 (32, 32, 3), BGR."""
        split, number = name.split('/')
        return np.asarray(self._sets[split].data[int(number)][:, :, ::-1], np.uint8)


class ImageNetSource:
    """ImageNet 2012 as torchvision lays it out; labels are the synonyms of each class."""

    def __init__(self, path: str) -> None:
        """Raise DataError where the folder is not so, or where its splits do not match."""
        self.path = Path(path).expanduser()
        missing = [name for name in ('meta.bin', *SPLITS) if not (self.path / name).exists()]
        if missing:  # torchvision would unpack 150 GB without a word, in each process
            raise DataError(
                f'{self.path} has no {missing[0]}; put the archives of image-net.org there; '
                f"torchvision.datasets.ImageNet('{self.path}', 'train') and 'val' unpack them"
            )
        try:
            sets = {split: datasets.ImageNet(str(self.path), split) for split in SPLITS}
        except DATASET_ERRORS as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f'{self.path} is not as torchvision.datasets.ImageNet leaves it: {first}; unpack '
                'the archives again'
            ) from error
        if sets['train'].wnids != sets['val'].wnids or len(sets['train'].wnids) < 2:
            raise DataError(
                f'{self.path} has {len(sets["train"].wnids)} classes in train/ and '
                f'{len(sets["val"].wnids)} in val/; they are the same two or more in both'
            )
        self.labels = distinct(sets['train'].classes, sets['train'].wnids)
        self._splits = {split: sets[split].samples for split in SPLITS}

    def split(self, name: str) -> Listed:
        """Return the pictures of a split, by their paths."""
        return self._splits[name]

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Decode the picture at a path: uint8 (H, W, 3), BGR. Raises SourceError."""
        return read_picture(name)


def distinct(synonyms: Sequence[Sequence[str]], ids: Sequence[str]) -> tuple[str, ...]:
    """Return a label for each class: its synonyms, and its id where another has the same."""
    joined = [', '.join(names) for names in synonyms]
    times = Counter(joined)
    return tuple(
        label if times[label] == 1 else f'{label} ({id_})'
        for label, id_ in zip(joined, ids, strict=True)
    )


SOURCES: dict[str, Callable[[str], Source]] = {
    'archive': ArchiveSource,
    'cifar10': Cifar10Source,
    'imagenet': ImageNetSource,
}
