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
"""Pictures in memory and decoded when asked for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from class_pictures import COLORS, noisy_picture, png  # noqa: E402
from sqz_perception.errors import SourceError  # noqa: E402
from training.data.pictures import Streamed, check_sample, read_split, square  # noqa: E402
from training.data.sources import ArchiveSource  # noqa: E402
from training.errors import DataError  # noqa: E402

GOOD = png(noisy_picture(COLORS['red'], 0))

ArchiveOf = Callable[[dict[str, bytes]], Path]


def test_pictures_arrive_in_rgb_with_their_class(colors: Path) -> None:
    source = ArchiveSource(str(colors))
    val = read_split(source, 'val', 32)
    assert val.images.shape == (12, 32, 32, 3)
    assert val.targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    means = val.images[val.targets == source.labels.index('red')].float().mean((0, 1, 2))
    assert means[0] > 150 > means[2]


def test_streamed_pictures_are_those_of_memory(colors: Path) -> None:
    source = ArchiveSource(str(colors))
    memory, streamed = read_split(source, 'val', 20), Streamed(source, 'val', 20)
    assert len(streamed) == len(memory)
    images, targets, which = streamed.__getitems__([7, 0, 11]).batch()
    assert torch.equal(images, memory.images[[7, 0, 11]])
    assert torch.equal(targets, memory.targets[[7, 0, 11]])
    assert which.tolist() == [7, 0, 11]


def broken(archive_of: ArchiveOf, *names: str) -> ArchiveSource:
    members = {
        f'{split}/{c}/{i}.png': GOOD for split in ('train', 'val') for c in 'ab' for i in '12'
    }
    return ArchiveSource(str(archive_of(members | dict.fromkeys(names, b'broken'))))


def test_unreadable_pictures_are_named(archive_of: ArchiveOf) -> None:
    source = broken(archive_of, 'train/a/2.png', 'train/b/1.png')
    for read in (lambda: read_split(source, 'train', 32), lambda: check_sample(source, 'train')):
        with pytest.raises(DataError, match=r"2 pictures can't .* first: .*: train/a/2.png: "):
            read()
    error = Streamed(source, 'train', 32).__getitems__([3, 2, 1])
    assert isinstance(error, SourceError)
    assert 'train/b/1.png: ' in str(error)


@given(st.integers(1, 80), st.integers(1, 80), st.integers(8, 40))
def test_square_cuts_out_the_middle(height: int, width: int, size: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    assert square(picture, size).shape == (size, size, 3)


@pytest.mark.parametrize('shape', [(1, 2_000_000, 3), (2_000_000, 1, 3)])
def test_a_picture_of_one_row_is_cut_before_it_grows(shape: tuple[int, ...]) -> None:
    tracemalloc.start()
    picture = square(np.full(shape, 7, np.uint8), 64)
    assert picture.shape == (64, 64, 3)
    assert (picture == 7).all()
    assert tracemalloc.get_traced_memory()[1] < 20e6  # scaled as a whole, it would take 384 MB
    tracemalloc.stop()


def test_a_long_picture_is_scaled_as_a_whole_up_to_eight_times_its_short_side() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 160, 3), np.uint8)
    whole = cv2.resize(picture, (256, 32), interpolation=cv2.INTER_LINEAR)
    assert (square(picture, 32) == whole[:, 112:144]).all()


def test_square_leaves_a_picture_of_the_size_alone() -> None:
    picture = noisy_picture((1, 2, 3), 0, 32)
    assert (square(picture, 32) == picture).all()
