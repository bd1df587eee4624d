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
Pictures in classes, in batches: for one process or several, from memory or from the disk.

They stay in memory where it holds them. Where it does not, they are decoded anew in each epoch,
by workers beside the training, and random crops take the place of shifts.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from sqz_perception.errors import ModelInvalid, SourceError
from sqz_perception.model.metadata import check_labels
from training.data.augmentation import Augmentation, Changes, RandomCrop, change, draw, mix_targets
from training.data.memory import GIB, free_gib
from training.data.pictures import Batch, Packed, Pictures, Streamed, check_sample, read_split
from training.data.sources import SOURCES, SPLITS
from training.errors import DataError

T = TypeVar('T')


@dataclass(frozen=True)
class Epoch:
    """What one epoch does to the pictures, on the device that trains."""

    number: int
    device: torch.device
    changes: Changes
    pasted: Pictures | None  # where parts of them are pasted: all of them


class PictureData(LightningDataModule):
    """The pictures of one source for training and validation."""

    def __init__(
        self,
        path: str,
        source: Literal['archive', 'cifar10', 'imagenet'] = 'archive',
        size: int = 32,
        batch_size: int = 128,
        memory_gib: float = 8.0,
        workers: int = 2,
        seed: int = 0,
        **augmentation: Any,
    ) -> None:
        """
        Look at the names of the pictures; they are decoded when training starts.

        Raises DataError for no pictures, one class only and classes without training pictures.
        What can't be decoded is named before training, too, where memory holds the pictures; else
        only some of them are tried, and another one ends the run when its turn comes.

        :param path: Folder or zip with train/<class>/ and val/<class>/, or what source says.
        :param source: 'cifar10', 'imagenet': path is the folder that torchvision's loader is
            given.
        :param size: Height and width given to the network, pixels.
        :param batch_size: Pictures in a step, of all processes together.
        :param memory_gib: For decoded pictures, of which each process of this machine keeps all.
            Of more pictures a random part is decoded anew in each epoch.
        :param workers: Processes that decode then, beside each that trains; 0: none.
        :param seed: Of order and augmentation.
        :param augmentation: The fields of Augmentation.
        """
        super().__init__()
        if size < 1 or batch_size < 1 or workers < 0:
            raise DataError(
                f'size {size}, batch_size {batch_size}, workers {workers}: the first two are at '
                'least 1, the last at least 0'
            )
        self.augmentation = Augmentation(seed=seed, **augmentation)
        self.augmentation.check(size)
        self.source = SOURCES[source](path)
        self.labels = self.source.labels
        try:
            check_labels([*self.labels])
        except ModelInvalid as error:
            raise DataError(f'{path}: {error}; rename the folder of the class') from error
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.memory_gib, self.workers, self.streamed = memory_gib, workers, False
        self.splits: dict[str, Pictures] = {}  # in memory, where they are not streamed
        self.drawn: Epoch | None = None

    def setup(self, stage: str | None = None) -> None:
        """Decode both splits, once; where memory does not hold them, some to see that it works."""
        self._check_shares()
        first = self._share()[0] == 0
        gib = self._gib()
        self.streamed = gib > self.memory_gib
        if self.streamed:
            if first:
                print(
                    f'{gib:.2g} GiB of pictures are more than --data.memory_gib '
                    f'{self.memory_gib:g}: random parts of them are decoded in each epoch',
                    file=sys.stderr,
                )
            if self.augmentation.mix:
                raise DataError(
                    '--data.mix is for pictures in memory; raise --data.memory_gib to '
                    f'{math.ceil(gib)}, or leave it out'
                )
            for split in SPLITS:
                check_sample(self.source, split)
        elif not self.splits:
            if gib > free_gib():
                raise DataError(
                    f'{gib:.2g} GiB of pictures exceed the {free_gib():.2g} GiB of free memory; '
                    f'lower --data.memory_gib, {self.memory_gib:g} now, to stream them'
                )
            self.splits = {
                split: read_split(self.source, split, self.size, quiet=not first)
                for split in SPLITS
            }

    def train_dataloader(self) -> DataLoader:
        """Batches in a new order for each epoch; the short last one is left out."""
        rank, processes = self._share()
        order = self._order(rank, processes)
        batch = self.batch_size // processes
        crop = RandomCrop(self.size, self.seed, order)
        return self._loader(
            'train', crop, batch_size=batch, drop_last=len(order) > batch, sampler=order
        )

    def val_dataloader(self) -> DataLoader:
        """Every picture once, by one of the processes."""
        batches = in_batches(self._count('val'), 4 * self.batch_size, *self._share())
        return self._loader('val', None, batch_sampler=batches)

    def sample(self, count: int) -> Tensor:
        """
        Return some pictures as training sees them first, at most so many: uint8 (N, S, S, 3), RGB.

        What is left as it is has other means and deviations than what is moved, mixed and erased.
        """
        order = self._order()  # every process has the same
        which, changes = list(order)[:count], self._changes(0)
        if self.streamed:
            crop = RandomCrop(self.size, self.seed, order)
            batch = Streamed(self.source, 'train', self.size, crop).__getitems__(which)
            images, *_ = self.on_before_batch_transfer(batch, 0)
            return change(images, torch.tensor(which), changes)
        pictures = self.splits['train']
        images, _, numbers = pictures.__getitems__(which)
        return change(images, numbers, changes, pictures.images if self.augmentation.mix else None)

    def on_before_batch_transfer(
        self, batch: Batch | Packed | SourceError, dataloader_idx: int
    ) -> Batch:
        """Return a batch as tensors. Raises the SourceError that it has become."""
        if isinstance(batch, SourceError):
            raise batch
        return batch.batch() if isinstance(batch, Packed) else batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> tuple[Tensor, ...]:
        """
        Augment in training.

        Returns pictures and their classes: int64 (N,) or, of mixed pictures, shares (N, classes).
        """
        images, targets, which = batch
        if self.trainer is None or not self.trainer.training:
            return images, targets
        now = self._epoch(images.device)
        if now.pasted is None:
            return change(images, which, now.changes), targets
        own = now.changes[which]
        others = now.pasted.targets[own.other]
        targets = mix_targets(targets, others, own.part, len(self.labels), self.size)
        return change(images, which, now.changes, now.pasted.images), targets

    def _epoch(self, device: torch.device) -> Epoch:
        """Return what is done in the trainer's epoch, on ``device``: once, since a copy waits."""
        epoch = self.trainer.current_epoch
        last = self.drawn
        if last and (last.number, last.device) == (epoch, device):
            return last
        changes = self._changes(epoch).to(device)
        pasted = last.pasted if last and last.device == device else None
        if self.augmentation.mix and not pasted:
            pasted = self.splits['train'].to(device)
        self.drawn = Epoch(epoch, device, changes, pasted)
        return self.drawn

    def _changes(self, epoch: int) -> Changes:
        how = self.augmentation
        if self.streamed:  # random crops have moved and scaled them
            how = replace(how, shift=0, zoom=0.0)
        return draw(self._count('train'), self.size, how, epoch)

    def _loader(self, split: str, crop: RandomCrop | None, **how: Any) -> DataLoader:
        how['pin_memory'] = torch.cuda.is_available()  # else each copy waits for the GPU
        if not self.streamed:
            return DataLoader(self.splits[split], collate_fn=whole, **how)
        pictures = Streamed(self.source, split, self.size, crop)
        if self.workers:
            # Each worker is one thread. OpenCV's others end here: a fork would not have them, and
            # wait for them for ever.
            cv2.setNumThreads(1)
        return DataLoader(pictures, collate_fn=whole, num_workers=self.workers, **how)

    def _order(self, rank: int = 0, processes: int = 1) -> DistributedSampler:
        """Return a new order for each epoch; processes share each step's pictures."""
        numbers = range(self._count('train'))
        return DistributedSampler(numbers, processes, rank, seed=self.seed, drop_last=True)

    def _share(self) -> tuple[int, int]:
        """Return the number of this process, and how many train together."""
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)

    def _check_shares(self) -> None:
        """Refuse a batch, or a split, of which some processes would have less or nothing."""
        _, processes = self._share()
        if self.batch_size % processes:
            raise DataError(
                f"{processes} processes can't share {self.batch_size} pictures alike; "
                'choose another --data.batch_size'
            )
        fewest = min(self._count(split) for split in SPLITS)
        if fewest < processes:
            raise DataError(
                f'{self.source.path} has a split of {fewest} pictures for {processes} processes; '
                'start fewer'
            )

    def _count(self, split: str) -> int:
        return len(self.source.split(split))

    def _gib(self) -> float:
        """Return what the decoded pictures take of this machine's memory."""
        count = sum(self._count(split) for split in SPLITS)
        here = self.trainer.num_devices if self.trainer else 1  # processes
        return here * count * 3 * self.size**2 / GIB


def in_batches(count: int, most: int, rank: int, processes: int) -> list[list[int]]:
    """
    Return a process's share of ``count`` pictures in batches of at most ``most``, two or more.

    Each picture is in one batch of one process. All processes have as many batches, since they
    wait for each other at each, and none is empty if there are as many pictures as processes.
    """
    own = np.arange(rank, count, processes)
    largest = -(-count // processes)  # of the shares, which differ by one at most
    return [batch.tolist() for batch in np.array_split(own, max(1, -(-largest // most)))]


def whole(batch: T) -> T:
    """Collate nothing: the batch came whole from the data set."""
    return batch
