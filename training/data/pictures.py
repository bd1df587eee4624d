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
The pictures of a split as a network takes them: all in memory, or decoded anew whenever asked for.

In memory each picture is decoded once, brought to the network's size and kept as uint8, so an
epoch costs no decoding, and a batch is one gather.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from sqz_perception.errors import SourceError
from training.data.archive import evenly
from training.data.augmentation import RandomCrop
from training.data.sources import Source
from training.errors import DataError

SAMPLE = 100  # pictures of a split that are decoded before it is streamed
LONGEST = 8  # times the short side: what is longer is cut before it is scaled

# Pictures uint8 (N, H, W, 3) in RGB order; int64 (N,) each: classes, numbers in the split.
Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Pictures(Dataset):
    """One split in memory: ``images`` uint8 (N, S, S, 3) in RGB order, ``targets`` int64 (N,)."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.images[i], self.targets[i]

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a whole batch; DataLoader prefers this to item after item."""
        which = torch.as_tensor(indices)
        return self.images[which], self.targets[which], which

    def to(self, device: torch.device | str) -> Pictures:
        """Return them on a device."""
        return Pictures(self.images.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Packed:
    """
    A batch on its way from a worker: images, targets and numbers, as in ``Batch``.

    Arrays come through a pipe. Tensors would come through /dev/shm, which is 64 MB in a container
    by default; where it is full, PyTorch waits for ever.
    """

    arrays: tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]

    def batch(self) -> Batch:
        """Return it as tensors."""
        images, targets, which = map(torch.from_numpy, self.arrays)
        return images, targets, which

    def pin_memory(self) -> Batch:
        """Return it where a GPU copies it from without waiting; DataLoader calls this."""
        images, targets, which = (tensor.pin_memory() for tensor in self.batch())
        return images, targets, which


class Streamed(Dataset):
    """One split, each picture decoded when it is asked for: for more than memory holds."""

    def __init__(
        self, source: Source, split: str, size: int, crop: RandomCrop | None = None
    ) -> None:
        """Give pictures of ``size`` pixels: what ``crop`` cuts out, else their middle."""
        self.source, self.size, self.crop = source, size, crop
        self.names, self.targets = zip(*source.split(split), strict=True)

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, indices: list[int]) -> Packed | SourceError:
        """Return a whole batch, or the error: one raised in a worker would come with its trace."""
        images = []
        for i in indices:
            try:
                picture = self.source.picture(self.names[i])
            except SourceError as error:
                return error
            fitted = self.crop(picture, i) if self.crop else square(picture, self.size)
            images.append(fitted[:, :, ::-1])
        targets = np.array([self.targets[i] for i in indices], np.int64)
        return Packed((np.stack(images), targets, np.array(indices, np.int64)))


def read_split(source: Source, split: str, size: int, quiet: bool = False) -> Pictures:
    """Decode one split, with a progress bar unless ``quiet``. Raises DataError."""
    listed = source.split(split)
    images = np.empty((len(listed), size, size, 3), np.uint8)
    broken: list[SourceError] = []
    bar = tqdm(listed, f'decoding {split}', unit=' pictures', disable=quiet)
    for i, (name, _) in enumerate(bar):
        try:
            images[i] = square(source.picture(name), size)[:, :, ::-1]
        except SourceError as error:
            broken.append(error)
    _refuse(broken)
    return Pictures(torch.from_numpy(images), torch.tensor([target for _, target in listed]))


def check_sample(source: Source, split: str) -> None:
    """Decode some pictures of a split, taken evenly. Raises DataError."""
    broken: list[SourceError] = []
    for name in evenly(tuple(name for name, _ in source.split(split)), SAMPLE):
        try:
            source.picture(name)
        except SourceError as error:
            broken.append(error)
    _refuse(broken)


def _refuse(broken: list[SourceError]) -> None:
    if len(broken) > 1:
        raise DataError(f"{len(broken):,} pictures can't be decoded, the first: {broken[0]}")
    if broken:
        raise broken[0]


def square(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring the short side to ``size`` pixels and cut out the middle: (size, size, 3)."""
    picture = _cut(picture, LONGEST * min(picture.shape[:2]))
    height, width = picture.shape[:2]
    if min(height, width) != size:
        scale = size / min(height, width)
        picture = cv2.resize(
            picture,
            (max(size, round(width * scale)), max(size, round(height * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        height, width = picture.shape[:2]
    return _cut(picture, size)


def _cut(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return the middle, at most ``longest`` pixels high and wide."""
    top, left = (max(0, (side - longest) // 2) for side in picture.shape[:2])
    return picture[top : top + longest, left : left + longest]
