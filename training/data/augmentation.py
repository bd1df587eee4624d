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
Pictures changed at random in training.

All but random crops work on whole batches: on two cores the usual way, picture by picture, costs
as much as the network itself, and torchvision's changes of a batch are the same for all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, one_hot
from torch.utils.data import DistributedSampler
from torchvision.transforms import RandomResizedCrop

from training.errors import DataError

GREY = 128
AREA = [0.08, 1.0]  # of a random crop, in parts of the picture's
RATIO = [3 / 4, 4 / 3]  # of its width to its height
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in what is seen as brightness (BT.601)


@dataclass(frozen=True)
class Augmentation:
    """
    What a recipe does to each training picture; all of it depends on the seed.

    :param shift: Random shift, pixels; of pictures in memory.
    :param flip: Flip half of the pictures left to right.
    :param erase: Side of a grey square over each picture, pixels; 0: none.
    :param mix: Share of the pictures that get a part of another pasted in, and that part of its
        class; of pictures in memory.
    :param zoom: Half of the pictures are made larger or smaller by up to this share; of pictures
        in memory.
    :param turn: The same half are turned by up to so many degrees.
    :param light: Brightness, contrast and saturation are changed, each by up to this share.
    """

    shift: int = 4
    flip: bool = True
    erase: int = 0
    mix: float = 0.0
    zoom: float = 0.0
    turn: float = 0.0
    light: float = 0.0
    seed: int = 0

    def check(self, size: int) -> None:
        """Raise DataError for what can't be done to pictures of ``size`` pixels."""
        if not 0 <= self.shift < size or self.erase < 0 or not 0 <= self.mix <= 1:
            raise DataError(
                f'shift {self.shift}, erase {self.erase}, mix {self.mix:g}: a shift is at least 0 '
                f'and less than {size} pixels, a square at least 0 pixels, a share between 0 and 1'
            )
        if not (0 <= self.zoom < math.inf and 0 <= self.turn <= 180 and 0 <= self.light <= 1):
            raise DataError(
                f'zoom {self.zoom:g}, turn {self.turn:g}, light {self.light:g}: the first is at '
                'least 0, a turn between 0 and 180 degrees, light between 0 and 1'
            )


@dataclass(frozen=True)
class Changes:
    """
    What is done to N pictures: to all of a split in one epoch, or to those of a batch.

    They are drawn for the split at once, so what becomes of a picture depends on the seed, the
    epoch and its number alone: a resumed run and any number of processes see the same.
    """

    up: Tensor  # int64 (N,): moved by so many pixels
    left: Tensor  # int64 (N,)
    mirrored: Tensor  # bool (N,), after the move
    other: Tensor  # int64 (N,): the picture of the split that a part is pasted from
    part: Tensor  # int64 (N, 4): top, bottom, left and right of the part; maybe empty
    hidden: Tensor  # int64 (N, 4): of the grey square, likewise
    warp: Tensor | None = None  # float32 (N, 2, 3): where pixels come from, as in affine_grid
    light: Tensor | None = None  # float32 (N, 3): brightness, contrast, saturation, 1 as they are

    def __getitem__(self, which: Tensor) -> Changes:
        """Return those of the pictures ``which``, int64 (M,)."""
        return self._each(lambda values: values[which])

    def to(self, device: torch.device | str) -> Changes:
        """Return them on the device where the pictures are."""
        return self._each(lambda values: values.to(device))

    def _each(self, do: Callable[[Tensor], Tensor]) -> Changes:
        every = (getattr(self, f.name) for f in fields(self))
        return Changes(*(None if values is None else do(values) for values in every))


def draw(count: int, size: int, how: Augmentation, epoch: int) -> Changes:
    """Return changes to ``count`` pictures of ``size`` pixels."""
    random = seeded(how.seed, epoch, 1)  # without the 1 it is what orders the pictures

    def places(low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, (count,), generator=random)

    def shares() -> Tensor:
        return torch.rand(count, generator=random)

    up, left = (places(-how.shift, how.shift) for _ in range(2))
    mirrored = shares() < (0.5 if how.flip else 0)
    # A square of any size alike: its area is, of all, what a uniform number says.
    side = (shares().sqrt() * size).round().long().where(shares() < how.mix, 0)
    other = torch.randperm(count, generator=random)
    pasted = _squares(places(0, size - 1), places(0, size - 1), side, size)
    erased = torch.full((count,), how.erase)
    hidden = _squares(places(0, size - 1), places(0, size - 1), erased, size)
    warp, light = _warps(count, how, random), _lights(count, how, random)
    return Changes(up, left, mirrored, other, pasted, hidden, warp, light)


def _warps(count: int, how: Augmentation, random: torch.Generator) -> Tensor | None:
    if not how.zoom and not how.turn:
        return None
    chance, larger, turned = torch.rand(3, count, generator=random)
    # Pixels between pixels blur a picture a little: half of them stay as sharp as they are.
    some = (chance < 0.5).float()
    zoom = (1 + how.zoom) ** (some * (2 * larger - 1))
    return warps(zoom, how.turn * some * (2 * turned - 1))


def warps(zoom: Tensor, degrees: Tensor, aspect: float = 1.0) -> Tensor:
    """
    Return float32 (N, 2, 3) for ``warp``: larger ``zoom`` times and turned, each (N,).

    ``aspect`` is the images' width to their height.
    """
    turn = torch.deg2rad(degrees)
    cos, sin, none = turn.cos() / zoom, turn.sin() / zoom, torch.zeros_like(turn)
    return torch.stack((cos, -sin / aspect, none, sin * aspect, cos, none), 1).view(-1, 2, 3)


def _lights(count: int, how: Augmentation, random: torch.Generator) -> Tensor | None:
    if not how.light:
        return None
    return 1 + how.light * (2 * torch.rand(count, 3, generator=random) - 1)


def change(images: Tensor, which: Tensor, changes: Changes, whole: Tensor | None = None) -> Tensor:
    """
    Return pictures as training sees them: uint8 (N, H, W, 3), as they are given.

    ``which``, int64 (N,), are their numbers in the split that ``changes`` are for. From ``whole``,
    all of its pictures, come the parts that are pasted in; without it there are none. All are on
    one device.
    """
    own = changes[which]
    images = alone(images, own)
    if whole is not None:
        images = paste(images, alone(whole[own.other], changes[own.other]), own.part)
    return erase(images, own.hidden)


def alone(images: Tensor, changes: Changes) -> Tensor:
    """Return pictures, uint8 (N, H, W, 3), with what is done to each by itself."""
    images = move(images, changes)
    if changes.warp is not None:
        images = warp(images, changes.warp)
    return images if changes.light is None else relight(images, changes.light)


def _squares(row: Tensor, column: Tensor, side: Tensor, size: int) -> Tensor:
    """Return what lies in the picture of squares about these pixels: (N, 4)."""
    edges = [at - side // 2 + more for at in (row, column) for more in (0, side)]
    return torch.stack(edges, 1).clamp(0, size)


def move(images: Tensor, changes: Changes) -> Tensor:
    """
    Move and mirror each picture; what comes in at a border is the picture's own, reflected.

    ``images`` is uint8 (N, H, W, 3); so is the result. All of it is one gather.
    """
    n, height, width, _ = images.shape

    def line(length: int, start: Tensor) -> Tensor:  # (N, length): where the pixels come from
        at = (torch.arange(length, device=start.device) + start[:, None]).abs()
        return length - 1 - (length - 1 - at).abs()

    rows, columns = line(height, changes.up), line(width, changes.left)
    columns = torch.where(changes.mirrored[:, None], columns.flip(1), columns)
    which = torch.arange(n, device=images.device)[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]]


def warp(images: Tensor, where: Tensor) -> Tensor:
    """
    Scale and turn each picture about its centre; what comes in at a border is reflected.

    ``images`` is uint8 (N, H, W, 3); so is the result. ``where`` is float32 (N, 2, 3).
    """
    planes = images.permute(0, 3, 1, 2).float()
    grid = affine_grid(where, list(planes.shape), align_corners=False)
    planes = grid_sample(planes, grid, 'bilinear', 'reflection', align_corners=False)
    return _bytes(planes.permute(0, 2, 3, 1))


def relight(images: Tensor, light: Tensor) -> Tensor:
    """
    Change brightness, contrast and saturation of each picture.

    ``images`` is uint8 (N, H, W, 3) in RGB order; so is the result. Of ``light``, float32 (N, 3),
    the first multiplies all values, the second their distance to the picture's mean brightness,
    the last that to the pixel's own. So does torchvision's ColorJitter, one after the other.
    """
    brightness, contrast, saturation = light[:, :, None, None, None].unbind(1)
    values = images.float()
    grey = sum(share * values[..., i, None] for i, share in enumerate(LUMA))
    mean = grey.mean((1, 2), keepdim=True)
    # brightness * (mean + contrast * (grey + saturation * (values - grey) - mean)), fewer passes
    kept = brightness * contrast
    around = kept * (1 - saturation) * grey + brightness * (1 - contrast) * mean
    return _bytes(values.mul_(kept * saturation).add_(around))


def _bytes(values: Tensor) -> Tensor:
    return values.round_().clamp_(0, 255).to(torch.uint8)


def paste(images: Tensor, others: Tensor, parts: Tensor) -> Tensor:
    """
    Put the part of each of ``others`` in its place in the picture of the same number.

    ``images`` and ``others`` are uint8 (N, H, W, 3); so is the result. Source: Yun et al., CutMix,
    arXiv 1905.04899.
    """
    return torch.where(_mask(images, parts), others, images)


def erase(images: Tensor, squares: Tensor) -> Tensor:
    """
    Paint a grey square over each picture.

    ``images`` is uint8 (N, H, W, 3); so is the result. Source: DeVries and Taylor, Cutout,
    arXiv 1708.04552.
    """
    return images.masked_fill(_mask(images, squares), GREY)


def _mask(images: Tensor, squares: Tensor) -> Tensor:
    """Return where the squares (N, 4) are: bool (N, H, W, 1)."""
    top, bottom, left, right = squares[:, :, None].unbind(1)  # (N, 1) each

    def between(length: int, first: Tensor, end: Tensor) -> Tensor:
        at = torch.arange(length, device=images.device)
        return (at >= first) & (at < end)

    rows, columns = between(images.shape[1], top, bottom), between(images.shape[2], left, right)
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def mix_targets(targets: Tensor, others: Tensor, parts: Tensor, classes: int, size: int) -> Tensor:
    """Return the classes of mixed pictures, by area: float32 (N, classes)."""
    top, bottom, left, right = parts.unbind(1)
    share = ((bottom - top) * (right - left) / size**2)[:, None]
    own, pasted = (one_hot(of, classes).float() for of in (targets, others))
    return torch.lerp(own, pasted, share)


@dataclass(frozen=True)
class RandomCrop:
    """
    Cuts out a part of random size, shape and place and brings it to ``size`` pixels.

    It depends on the seed, the epoch and the picture's number alone, so it is the same in a run
    that is resumed and in any number of processes.
    """

    size: int
    seed: int
    order: DistributedSampler  # knows the epoch

    def __call__(self, picture: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """Return uint8 (size, size, 3) for uint8 (H, W, 3)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeded(self.seed, self.order.epoch, number).initial_seed())
            shape = torch.empty(3, *picture.shape[:2], device='meta')
            top, left, height, width = RandomResizedCrop.get_params(shape, AREA, RATIO)
        cut = picture[top : top + height, left : left + width]
        smaller = self.size < min(height, width)
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(cut, (self.size, self.size), interpolation=how), np.uint8)


def seeded(*numbers: int) -> torch.Generator:
    """Return a generator that depends on these numbers only."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
