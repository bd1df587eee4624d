# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The order in which pictures are seen, and how processes that train together share them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler


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

    def __init__(self, numbers: Tensor, seed: int, share: Share = Share()) -> None:
        """Order the pictures of these numbers, int64 (N,)."""
        self.numbers, self.seed, self.share, self.epoch = numbers, seed, share, 0

    def set_epoch(self, epoch: int) -> None:
        """Order the pictures for ``epoch``; the trainer calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.numbers) // self.share.processes

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self.numbers), generator=seeded(self.seed, self.epoch))
        order = self.numbers[order]
        return iter(order[self.share.rank :: self.share.processes][: len(self)].tolist())


def in_batches(count: int, most: int, share: Share) -> list[list[int]]:
    """
    Return a process's part of ``count`` pictures in batches of at most ``most``, two or more.

    Each picture is in one batch of one process. Every process has as many batches as the others,
    since they wait for each other at each, and none is empty if there are as many pictures as
    processes.
    """
    own = np.arange(share.rank, count, share.processes)
    largest = -(-count // share.processes)  # of the shares, which differ by one at most
    return [batch.tolist() for batch in np.array_split(own, max(1, -(-largest // most)))]


def part_of(numbers: Tensor, parts: int) -> Tensor:
    """Return of which part, from 0, the pictures of these numbers are; int64 (N,), as they are."""
    return numbers % parts


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator that depends on these numbers only."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
