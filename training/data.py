# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Pictures in classes: a folder or a zip with ``train/<class>/`` and ``val/<class>/``.

Each picture is decoded once, brought to the network's size and kept as uint8 in memory, so an
epoch costs no decoding. Batches are cut out and augmented whole, by indexing: on two cores the
usual way, picture by picture, costs as much as the network itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from sqz_perception.errors import DataError
from training.archive import Archive

GREY = 128
Batch = tuple[Tensor, Tensor]  # uint8 (N, H, W, 3) in RGB order, int64 (N,)


@dataclass(frozen=True)
class Pictures(Dataset):
    """One split in memory: ``images`` uint8 (N, S, S, 3) in RGB order, ``targets`` int64 (N,)."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> Batch:
        return self.images[i], self.targets[i]

    def __getitems__(self, indices: list[int]) -> Batch:
        """Return a whole batch; DataLoader prefers this to item after item."""
        chosen = torch.as_tensor(indices)
        return self.images[chosen], self.targets[chosen]


def read_split(archive: Archive, split: str, labels: tuple[str, ...], size: int) -> Pictures:
    """Decode one split. Raise DataError naming what can't be read or has no label."""
    classes = archive.classes(split)
    unknown = sorted(set(classes) - set(labels))
    if unknown:
        raise DataError(
            f'{archive.path}: {split}/ has classes that train/ has not: {", ".join(unknown)}'
        )
    names = [(name, labels.index(label)) for label in sorted(classes) for name in classes[label]]
    images = np.empty((len(names), size, size, 3), np.uint8)
    unreadable = []
    for i, (name, _) in enumerate(tqdm(names, f'decoding {split}', unit=' pictures')):
        picture = archive.picture(name)
        if picture is None:
            unreadable.append(name)
        else:
            images[i] = square(picture, size)[:, :, ::-1]
    if unreadable:
        raise DataError(
            f"{archive.path}: {len(unreadable)} of {len(names)} pictures can't be "
            f'decoded, the first is {unreadable[0]}; remove or replace them'
        )
    return Pictures(torch.from_numpy(images), torch.tensor([target for _, target in names]))


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


def augment(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """
    Move each picture by up to ``shift`` pixels, the border mirrored, and flip half of them.

    ``images`` is uint8 (N, H, W, 3); so is the result. Crop and flip are one gather.
    """
    n, height, width, _ = images.shape

    def line(length: int) -> Tensor:  # (N, length): source positions, mirrored at the border
        start = torch.randint(-shift, shift + 1, (n, 1), generator=generator)
        at = (torch.arange(length) + start).abs()
        return length - 1 - (length - 1 - at).abs()

    rows, columns = line(height), line(width)
    if flip:
        flipped = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    device = images.device
    which = torch.arange(n, device=device)[:, None, None]
    return images[which, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]


def erase(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """
    Paint a grey square of ``side`` pixels over each picture, its centre anywhere in it.

    ``images`` is uint8 (N, H, W, 3); so is the result. Source: DeVries and Taylor, Cutout,
    arXiv 1708.04552.
    """
    n, height, width, _ = images.shape

    def hidden(length: int) -> Tensor:  # (N, length): is this line under the square?
        first = torch.randint(length, (n, 1), generator=generator) - side // 2
        at = torch.arange(length)
        return ((at >= first) & (at < first + side)).to(images.device)

    under = hidden(height)[:, :, None] & hidden(width)[:, None, :]
    return images.masked_fill(under[..., None], GREY)


@dataclass(frozen=True)
class Share:
    """Which of the processes that train together this one is, and how many there are."""

    rank: int = 0
    processes: int = 1


class ShuffleByEpoch(Sampler):
    """
    A new order for each epoch from seed and epoch alone, so a resumed run has the same.

    Of each step's pictures every process has its share: together they see what one alone would.
    """

    def __init__(self, count: int, seed: int, share: Share = Share()) -> None:
        """Order ``count`` pictures."""
        self.count, self.seed, self.share, self.epoch = count, seed, share, 0

    def set_epoch(self, epoch: int) -> None:
        """Order the pictures for ``epoch``; the trainer calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // self.share.processes

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.count, generator=seeded(self.seed, self.epoch))
        return iter(order[self.share.rank :: self.share.processes][: len(self)].tolist())


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator that depends on these numbers only."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


class PictureData(LightningDataModule):
    """The pictures of one archive for training and validation."""

    def __init__(
        self,
        path: str,
        size: int = 32,
        batch_size: int = 128,
        shift: int = 4,
        flip: bool = True,
        erase: int = 0,
        seed: int = 0,
    ) -> None:
        """
        Look at the names of the pictures; they are decoded when training starts.

        Args:
            path: Folder or zip with train/<class>/ and val/<class>/.
            size: Height and width given to the network, pixels.
            batch_size: Pictures in a step, of all processes together.
            shift: Random shift in training, pixels.
            flip: Flip half of the training pictures left to right.
            erase: Side of a grey square over each training picture, pixels; 0: none.
            seed: Of order and augmentation.

        """
        super().__init__()
        if size < 1 or batch_size < 1 or erase < 0 or not 0 <= shift < size:
            raise DataError(
                f'size {size}, batch_size {batch_size}, shift {shift}, erase {erase}: the first '
                'two are at least 1, the others at least 0, the shift is smaller than the size'
            )
        self.archive = Archive(path)
        self.labels = tuple(sorted(self.archive.classes('train')))
        self.archive.classes('val')
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.shift, self.flip, self.erase = shift, flip, erase
        self.train: Pictures | None = None
        self.val: Pictures | None = None

    def setup(self, stage: str | None = None) -> None:
        """Decode both splits, once."""
        if self.train is None:
            self.train = read_split(self.archive, 'train', self.labels, self.size)
            self.val = read_split(self.archive, 'val', self.labels, self.size)

    def train_dataloader(self) -> DataLoader:
        """Batches in a new order for each epoch; the short last one is left out."""
        assert self.train is not None
        share = self._share()
        if self.batch_size % share.processes:
            raise DataError(
                f"{share.processes} processes can't share {self.batch_size} pictures alike; "
                'choose another --data.batch_size'
            )
        batch = self.batch_size // share.processes
        sampler = ShuffleByEpoch(len(self.train), self.seed, share)
        return DataLoader(
            self.train, batch, drop_last=len(sampler) > batch, sampler=sampler, collate_fn=whole
        )

    def val_dataloader(self) -> DataLoader:
        """Every picture once, by one of the processes."""
        assert self.val is not None
        share = self._share()
        own = range(share.rank, len(self.val), share.processes)
        return DataLoader(self.val, 4 * self.batch_size, sampler=own, collate_fn=whole)

    def _share(self) -> Share:
        return (
            Share(self.trainer.global_rank, self.trainer.world_size) if self.trainer else Share()
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment in training; seeded by the step, so a resumed run draws the same."""
        images, targets = batch
        if self.trainer is not None and self.trainer.training:
            random = seeded(self.seed, self.trainer.global_step, self.trainer.global_rank)
            images = augment(images, self.shift, self.flip, random)
            if self.erase:
                images = erase(images, self.erase, random)
        return images, targets


def whole(batch: Batch) -> Batch:
    """Collate nothing: the batch came whole from ``Pictures``."""
    return batch
