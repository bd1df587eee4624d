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
"""Pictures changed at random: moved, mirrored, covered, cut out."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from torch.utils.data import DistributedSampler  # noqa: E402

from class_pictures import noisy_picture  # noqa: E402
from training.data.augmentation import (  # noqa: E402
    Augmentation,
    RandomCrop,
    alone,
    change,
    draw,
    erase,
    mix_targets,
    move,
    paste,
    relight,
    warp,
)
from training.errors import DataError  # noqa: E402

NOTHING = Augmentation(shift=0, flip=False, erase=0, mix=0.0, seed=1)
VARIED = replace(NOTHING, zoom=0.25, turn=20.0, light=0.3)


def test_augmentation_moves_mirrors_and_nothing_else() -> None:
    images = torch.randint(0, 256, (64, 12, 12, 3), dtype=torch.uint8)
    result = move(images, draw(64, 12, replace(NOTHING, shift=3, flip=True), 0))
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
    which, changes = torch.arange(4), draw(4, 8, NOTHING, 0)
    assert torch.equal(change(images, which, changes), images)
    assert torch.equal(change(images, which, changes, images), images)


def test_a_square_is_painted_over_each_picture() -> None:
    images = torch.randint(0, 100, (200, 12, 12, 3), dtype=torch.uint8)
    result = erase(images, draw(200, 12, replace(NOTHING, erase=4), 0).hidden)
    changed = (result != images).any(dim=3)
    assert (result[changed] == 128).all()
    areas = changed.sum((1, 2))
    assert areas.max() == 16
    assert areas.min() >= 4  # a centre in the corner leaves a quarter
    assert len({tuple(mask.flatten().tolist()) for mask in changed}) > 50


def test_a_part_of_another_picture_is_pasted_into_its_share_of_them() -> None:
    size, count = 16, 2000
    black = torch.zeros(count, size, size, 3, dtype=torch.uint8)
    changes = draw(count, size, replace(NOTHING, mix=0.25), 0)
    pasted = (paste(black, black + 255, changes.part) == 255).all(dim=3)
    top, bottom, left, right = changes.part.unbind(1)
    assert torch.equal(pasted.sum((1, 2)), (bottom - top) * (right - left))
    mixed = pasted.any((1, 2))
    assert 0.2 < mixed.float().mean() < 0.3
    share = pasted[mixed].float().mean((1, 2))
    assert share.min() < 0.05
    assert share.max() > 0.8
    assert sorted(changes.other.tolist()) == list(range(count))


@pytest.mark.parametrize('how', [NOTHING, VARIED])
def test_a_pasted_part_is_changed_as_its_own_picture_is(how: Augmentation) -> None:
    images = torch.randint(0, 256, (30, 10, 10, 3), dtype=torch.uint8)
    changes = draw(30, 10, replace(how, shift=2, flip=True, mix=1.0), 3)
    each = alone(images, changes)
    result = change(images, torch.arange(30), changes, images)
    for i, (top, bottom, left, right) in enumerate(changes.part.tolist()):
        inside = result[i, top:bottom, left:right]
        assert torch.equal(inside, each[changes.other[i], top:bottom, left:right])
    outside = paste(result, each, changes.part)
    assert torch.equal(outside, each)


def test_half_of_the_pictures_are_scaled_and_turned() -> None:
    count = 4000
    found = draw(count, 8, VARIED, 0).warp
    still = (found == torch.eye(2, 3)).all(dim=(1, 2))
    assert 0.45 < still.float().mean() < 0.55
    zoom = 1 / found[~still, :, 0].norm(dim=1)
    turn = torch.atan2(found[~still, 1, 0], found[~still, 0, 0]).rad2deg()
    for values, low, high in ((zoom.log2(), -0.3220, 0.3220), (turn, -20.0, 20.0)):
        assert low <= values.min() < 0.98 * low
        assert 0.98 * high < values.max() <= high
        assert abs(values.mean()) < 0.04 * high
    assert (found[:, :, 2] == 0).all()


@pytest.mark.parametrize('size', [9, 10])
def test_a_turn_by_a_right_angle_moves_pixels_only(size: int) -> None:
    images = torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8)
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(3, 2, 3)
    assert torch.equal(warp(images, quarter), images.rot90(1, (1, 2)))
    assert torch.equal(warp(images, torch.eye(2, 3).expand(3, 2, 3)), images)


def test_a_zoomed_picture_shows_less_or_itself_reflected() -> None:
    inner = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    inner[:, 8:24, 8:24] = 200
    larger, smaller = (
        warp(inner, torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]])) for zoom in (2.0, 0.5)
    )
    assert (larger[:, 1:-1, 1:-1] == 200).all()
    lit = (smaller[0, :, 16, 0] > 100).nonzero().flatten()
    assert lit.tolist() == [*range(4), *range(12, 20), *range(28, 32)]


def test_light_changes_brightness_contrast_and_saturation() -> None:
    images = torch.randint(60, 120, (3, 8, 8, 3), dtype=torch.uint8)
    ones = torch.ones(3, 3)
    assert torch.equal(relight(images, ones), images)
    brighter, flat, grey = (
        relight(images, ones.index_fill(1, torch.tensor([i]), v))
        for i, v in enumerate((2.0, 0.0, 0.0))
    )
    assert torch.equal(brighter, 2 * images)
    assert (relight(images, 3 * ones) == 255).any()
    luma = images.float() @ torch.tensor([0.299, 0.587, 0.114])
    assert grey.float().numpy() == pytest.approx(luma[..., None].expand(-1, -1, -1, 3), abs=0.51)
    colourless = relight(images, torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3))
    for picture, of in zip(colourless, luma, strict=True):
        assert picture.unique().tolist() == pytest.approx([of.mean().item()], abs=0.51)
    assert torch.equal(flat, colourless)


def test_light_is_drawn_within_its_share() -> None:
    found = draw(3000, 8, VARIED, 0).light
    assert found.shape == (3000, 3)
    for values in found.T:
        assert 0.7 <= values.min() < 0.71
        assert 1.29 < values.max() <= 1.3


def test_what_is_drawn_beside_does_not_change_the_rest() -> None:
    how = Augmentation(shift=3, flip=True, erase=4, mix=0.5, seed=1)
    more = replace(how, zoom=0.2, turn=10.0, light=0.1)
    before, after = (draw(50, 12, each, 2) for each in (how, more))
    for f in fields(before):
        if f.name not in ('warp', 'light'):
            assert torch.equal(getattr(before, f.name), getattr(after, f.name)), f.name
    assert before.warp is before.light is None


def test_a_mixed_picture_is_of_both_classes_by_area() -> None:
    parts = torch.tensor([[0, 0, 0, 0], [0, 4, 0, 2], [1, 3, 0, 4], [0, 4, 0, 4]])
    targets, others = torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 1, 2])
    shares = mix_targets(targets, others, parts, 3, 4)
    assert shares.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]


def test_changes_depend_on_seed_epoch_and_the_picture_s_number_alone() -> None:
    how = replace(VARIED, shift=3, flip=True, erase=4, mix=0.5)
    which = torch.tensor([7, 3, 90])

    def values(how: Augmentation, epoch: int) -> list[list[int]]:
        changes = draw(100, 12, how, epoch)[which]
        return [getattr(changes, f.name).tolist() for f in fields(changes)]

    assert values(how, 2) == values(how, 2)
    assert values(how, 2) != values(how, 3)
    assert values(how, 2) != values(replace(how, seed=2), 2)


@pytest.mark.parametrize(
    'wrong', [{'shift': -1}, {'shift': 12}, {'erase': -1}, {'mix': -0.1}, {'mix': 1.1}]
)
def test_what_can_not_be_done_to_a_picture_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match='a share between 0 and 1'):
        replace(NOTHING, **wrong).check(12)


@pytest.mark.parametrize(
    'wrong',
    [
        {'zoom': -0.1},
        {'zoom': float('inf')},
        {'turn': -1.0},
        {'turn': 181.0},
        {'light': 1.1},
        {'light': float('nan')},
    ],
)
def test_views_and_light_that_can_not_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(DataError, match='a turn between 0 and 180 degrees'):
        replace(NOTHING, **wrong).check(12)


def test_a_random_crop_depends_on_seed_epoch_and_picture_alone() -> None:
    picture = noisy_picture((1, 2, 3), 0, 48)

    def crop(seed: int, epoch: int, number: int) -> bytes:
        order = DistributedSampler(range(10), 1, 0)
        order.set_epoch(epoch)
        cut = RandomCrop(16, seed, order)(picture, number)
        assert cut.shape == (16, 16, 3)
        return cut.tobytes()

    assert crop(1, 2, 3) == crop(1, 2, 3)
    assert len({crop(1, 2, 3), crop(2, 2, 3), crop(1, 3, 3), crop(1, 2, 4)}) == 4
