# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures in memory and their augmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from class_pictures import COLORS, noisy_picture, png  # noqa: E402
from sqz_perception.errors import DataError  # noqa: E402
from training.archive import Archive  # noqa: E402
from training.data import (  # noqa: E402
    PictureData,
    ShuffleByEpoch,
    augment,
    erase,
    read_split,
    seeded,
    square,
)


def test_pictures_arrive_in_rgb_with_their_class(colors: Path) -> None:
    archive = Archive(colors)
    labels = tuple(archive.classes('val'))
    val = read_split(archive, 'val', labels, 32)
    assert val.images.shape == (12, 32, 32, 3)
    assert val.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    means = val.images[val.targets == labels.index('red')].float().mean((0, 1, 2))
    assert means[0] > 150 > means[2]


def test_unreadable_pictures_are_named_before_training(
    archive_of: Callable[[dict[str, bytes]], Path],
) -> None:
    good = png(noisy_picture(COLORS['red'], 0))
    archive = Archive(
        archive_of({'train/a/1.png': good, 'train/b/1.png': good, 'train/b/2.png': b'broken'})
    )
    with pytest.raises(DataError, match=r'1 of 3 pictures .* first is train/b/2.png'):
        read_split(archive, 'train', ('a', 'b'), 32)


def test_a_class_that_is_not_trained_is_refused(
    archive_of: Callable[[dict[str, bytes]], Path],
) -> None:
    good = png(noisy_picture(COLORS['red'], 0))
    path = archive_of({f'{name}/1.png': good for name in ('train/a', 'train/b', 'val/a', 'val/c')})
    data = PictureData(str(path))
    with pytest.raises(DataError, match='classes that train/ has not: c'):
        data.setup()


@given(st.integers(1, 80), st.integers(1, 80), st.integers(8, 40))
def test_square_cuts_out_the_middle(height: int, width: int, size: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    assert square(picture, size).shape == (size, size, 3)


def test_square_leaves_a_picture_of_the_size_alone() -> None:
    picture = noisy_picture((1, 2, 3), 0, 32)
    assert (square(picture, 32) == picture).all()


def test_augmentation_moves_mirrors_and_nothing_else() -> None:
    images = torch.randint(0, 256, (64, 12, 12, 3), dtype=torch.uint8)
    result = augment(images, 3, True, seeded(1))
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
    assert torch.equal(augment(images, 0, False, seeded(1)), images)


def test_a_square_is_painted_over_each_picture() -> None:
    images = torch.randint(0, 100, (200, 12, 12, 3), dtype=torch.uint8)
    result = erase(images, 4, seeded(1))
    changed = (result != images).any(dim=3)
    assert (result[changed] == 128).all()
    areas = changed.sum((1, 2))
    assert areas.max() == 16
    assert areas.min() >= 4  # a centre in the corner leaves a quarter
    assert len({tuple(mask.flatten().tolist()) for mask in changed}) > 50


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = ShuffleByEpoch(100, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 5) == order(1, 5)
    assert order(1, 5) != order(1, 6) != order(2, 6)
    assert sorted(order(3, 0)) == list(range(100))
