# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Pictures changed at random in training.

Shifts, flips and grey squares work on whole batches, by indexing: on two cores the usual way,
picture by picture, costs as much as the network itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.order import ShuffleByEpoch

GREY = 128
AREA = (0.08, 1.0)  # of a random crop, in parts of the picture's
RATIO = (3 / 4, 4 / 3)  # of its width to its height
TRIES = 10


@dataclass(frozen=True)
class Moves:
    """How each picture of a batch is moved: pixels up and to the left, then mirrored or not."""

    up: Tensor  # int64 (N,)
    left: Tensor  # int64 (N,)
    mirrored: Tensor  # bool (N,)


def draw(count: int, shift: int, flip: bool, generator: torch.Generator) -> Moves:
    """Return moves by up to ``shift`` pixels in each direction, half of them mirrored."""
    up, left = (
        torch.randint(-shift, shift + 1, (count, 1), generator=generator)[:, 0] for _ in range(2)
    )
    if not flip:
        return Moves(up, left, torch.zeros(count, dtype=torch.bool))
    return Moves(up, left, torch.rand(count, 1, generator=generator)[:, 0] < 0.5)


def move(images: Tensor, moves: Moves) -> Tensor:
    """
    Move and mirror each picture; what comes in at a border is the picture's own, reflected.

    ``images`` is uint8 (N, H, W, 3); so is the result. All of it is one gather.
    """
    n, height, width, _ = images.shape

    def line(length: int, start: Tensor) -> Tensor:  # (N, length): where the pixels come from
        at = (torch.arange(length) + start[:, None]).abs()
        return length - 1 - (length - 1 - at).abs()

    rows, columns = line(height, moves.up), line(width, moves.left)
    columns = torch.where(moves.mirrored[:, None], columns.flip(1), columns)
    device = images.device
    which = torch.arange(n, device=device)[:, None, None]
    return images[which, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]


def views(shift: int) -> list[tuple[bool, int, int]]:
    """
    Return the few moves that stand for all moves by up to ``shift``: mirrored, up, left.

    A teacher answers these (training.answers): eighteen, of which one is no more than a third of
    the shift, rounded up, away from any other move.
    """
    return list(product((False, True), _places(shift), _places(shift)))


def nearest_view(moves: Moves, shift: int) -> Tensor:
    """Return the index (N,) in ``views(shift)`` of the one nearest to each move."""
    places = torch.tensor(_places(shift))

    def near(by: Tensor) -> Tensor:
        return (by[:, None] - places).abs().argmin(1)

    n = len(places)
    return (moves.mirrored.long() * n + near(moves.up)) * n + near(moves.left)


def _places(shift: int) -> list[int]:
    step = round(2 * shift / 3)
    return sorted({-step, 0, step})


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
class RandomCrop:
    """
    Cuts out a part of random size, shape and place and brings it to ``size`` pixels.

    It depends on the seed, the epoch and the picture's number alone, so it is the same in a run
    that is resumed and in any number of processes. Source: Szegedy et al., Going deeper with
    convolutions, arXiv 1409.4842, section 6, with the bounds of torchvision's RandomResizedCrop.
    """

    size: int
    seed: int
    order: ShuffleByEpoch  # knows the epoch

    def __call__(self, picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """Return uint8 (size, size, 3) for uint8 (H, W, 3)."""
        random = np.random.default_rng((self.seed, self.order.epoch, number))
        rows, columns = picture.shape[:2]
        top, left, height, width = part(rows, columns, random)
        cut = picture[top : top + height, left : left + width]
        smaller = self.size < min(height, width)
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(cut, (self.size, self.size), interpolation=how), np.uint8)


def part(height: int, width: int, random: np.random.Generator) -> tuple[int, int, int, int]:
    """Return top, left, height and width of a random part; after some tries, of the middle."""
    low, high = np.log(RATIO)
    for _ in range(TRIES):
        area = height * width * random.uniform(*AREA)
        ratio = np.exp(random.uniform(low, high))
        h, w = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
        if 0 < h <= height and 0 < w <= width:
            return int(random.integers(height - h + 1)), int(random.integers(width - w + 1)), h, w
    h, w = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    return (height - h) // 2, (width - w) // 2, h, w
