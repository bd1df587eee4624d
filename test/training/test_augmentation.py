# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures changed at random: moved, mirrored, covered, cut out."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from class_pictures import noisy_picture  # noqa: E402
from training.augmentation import (  # noqa: E402
    Moves,
    RandomCrop,
    draw,
    erase,
    move,
    nearest_view,
    part,
    views,
)
from training.order import ShuffleByEpoch, seeded  # noqa: E402


def test_augmentation_moves_mirrors_and_nothing_else() -> None:
    images = torch.randint(0, 256, (64, 12, 12, 3), dtype=torch.uint8)
    result = move(images, draw(64, 3, True, seeded(1)))
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    padded = np.pad(images.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)), mode='reflect')
    moves = set()
    for before, after in zip(padded, result.numpy(), strict=True):
        matches = [
            (y, x, flip)
            for y in range(7)
            for x in range(7)
            for flip in (1, -1)
            if (before[y : y + 12, x : x + 12][:, ::flip] == after).all()
        ]
        assert len(matches) == 1
        moves.add(matches[0])
    assert len({move[2] for move in moves}) == 2
    assert len(moves) > 30


def test_augmentation_can_be_switched_off() -> None:
    images = torch.randint(0, 256, (4, 8, 8, 3), dtype=torch.uint8)
    assert torch.equal(move(images, draw(4, 0, False, seeded(1))), images)


@pytest.mark.parametrize(('shift', 'count'), [(0, 2), (1, 18), (2, 18), (4, 18)])
def test_the_view_nearest_to_a_move_is_close_to_it(shift: int, count: int) -> None:
    moves = draw(500, shift, True, seeded(1))
    seen = views(shift)
    assert len(seen) == count
    nearest = torch.tensor([seen[i] for i in nearest_view(moves, shift).tolist()])
    assert torch.equal(nearest[:, 0].bool(), moves.mirrored)
    for by, near in ((moves.up, nearest[:, 1]), (moves.left, nearest[:, 2])):
        assert (by - near).abs().max() <= math.ceil(shift / 3)
    assert len(nearest.unique(dim=0)) == count


def test_a_view_is_nearest_to_itself() -> None:
    mirrored, up, left = (torch.tensor(values) for values in zip(*views(4), strict=True))
    assert nearest_view(Moves(up, left, mirrored), 4).tolist() == list(range(18))


def test_a_square_is_painted_over_each_picture() -> None:
    images = torch.randint(0, 100, (200, 12, 12, 3), dtype=torch.uint8)
    result = erase(images, 4, seeded(1))
    changed = (result != images).any(dim=3)
    assert (result[changed] == 128).all()
    areas = changed.sum((1, 2))
    assert areas.max() == 16
    assert areas.min() >= 4  # a centre in the corner leaves a quarter
    assert len({tuple(mask.flatten().tolist()) for mask in changed}) > 50


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32))
def test_a_random_part_lies_in_the_picture(height: int, width: int, seed: int) -> None:
    top, left, h, w = part(height, width, np.random.default_rng(seed))
    assert top >= 0
    assert left >= 0
    assert 1 <= h <= height - top
    assert 1 <= w <= width - left


def test_random_parts_have_the_sizes_and_shapes_that_they_should() -> None:
    random = np.random.default_rng(0)
    parts = np.array([part(1000, 1000, random)[2:] for _ in range(2000)])
    areas, ratios = parts.prod(axis=1) / 1e6, parts[:, 1] / parts[:, 0]
    assert 0.079 < areas.min() < 0.1
    assert areas.max() > 0.9
    assert 0.74 < ratios.min() < 0.78
    assert 1.28 < ratios.max() < 1.34


def test_a_random_crop_depends_on_seed_epoch_and_picture_alone() -> None:
    picture = noisy_picture((1, 2, 3), 0, 48)

    def crop(seed: int, epoch: int, number: int) -> bytes:
        order = ShuffleByEpoch(10, seed)
        order.set_epoch(epoch)
        cut = RandomCrop(16, seed, order)(picture, number)
        assert cut.shape == (16, 16, 3)
        return cut.tobytes()

    assert crop(1, 2, 3) == crop(1, 2, 3)
    assert len({crop(1, 2, 3), crop(2, 2, 3), crop(1, 3, 3), crop(1, 2, 4)}) == 4
