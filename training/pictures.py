# Copyright 2026 the sqz_perception authors
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

from sqz_perception.errors import DataError
from training.archive import evenly
from training.augmentation import RandomCrop
from training.sources import Source

SAMPLE = 100  # pictures of a split that are decoded before it is streamed

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

    def __getitems__(self, indices: list[int]) -> Batch | DataError:
        """Return a whole batch, or the error: one raised in a worker would come with its trace."""
        images = []
        for i in indices:
            picture = self.source.picture(self.names[i])
            if picture is None:
                return unreadable(self.source, [self.names[i]])
            fitted = self.crop(picture, i) if self.crop else square(picture, self.size)
            images.append(fitted[:, :, ::-1])
        targets = torch.tensor([self.targets[i] for i in indices])
        return torch.from_numpy(np.stack(images)), targets, torch.tensor(indices)


def read_split(source: Source, split: str, size: int, quiet: bool = False) -> Pictures:
    """Decode one split, with a progress bar unless ``quiet``. Raises DataError."""
    listed = source.split(split)
    images = np.empty((len(listed), size, size, 3), np.uint8)
    broken = []
    bar = tqdm(listed, f'decoding {split}', unit=' pictures', disable=quiet)
    for i, (name, _) in enumerate(bar):
        picture = source.picture(name)
        if picture is None:
            broken.append(name)
        else:
            images[i] = square(picture, size)[:, :, ::-1]
    if broken:
        raise unreadable(source, broken)
    return Pictures(torch.from_numpy(images), torch.tensor([target for _, target in listed]))


def check_sample(source: Source, split: str) -> None:
    """Decode some pictures of a split, taken evenly. Raises DataError."""
    names = evenly(tuple(name for name, _ in source.split(split)), SAMPLE)
    broken = [name for name in names if source.picture(name) is None]
    if broken:
        raise unreadable(source, broken)


def unreadable(source: Source, names: list[str]) -> DataError:
    """Return the error for pictures that can't be decoded."""
    return DataError(
        f"{source.path}: {len(names):,} of the pictures can't be decoded, the first is "
        f'{names[0]}; remove or replace them'
        if len(names) > 1
        else f"{source.path}: {names[0]} can't be decoded; remove or replace it"
    )


def square(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring the short side to ``size`` pixels and cut out the middle: (size, size, 3)."""
    height, width = picture.shape[:2]
    if min(height, width) != size:
        scale = size / min(height, width)
        picture = cv2.resize(
            picture,
            (max(size, round(width * scale)), max(size, round(height * scale))),
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        height, width = picture.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]
