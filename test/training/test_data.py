# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures, from memory and from the disk, for one process and for several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from sqz_perception.errors import DataError  # noqa: E402
from training.augmentation import change  # noqa: E402
from training.data import PictureData  # noqa: E402


def prepared(colors: Path, rank: int = 0, processes: int = 1, **settings: Any) -> PictureData:
    data = PictureData(str(colors), batch_size=16, **settings)
    data.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=processes,
        num_devices=processes,
        training=True,
        current_epoch=0,
    )
    data.setup()
    return data


@pytest.mark.parametrize('workers', [0, 2])
def test_pictures_that_memory_can_not_hold_are_streamed(
    colors: Path, capsys: pytest.CaptureFixture, workers: int
) -> None:
    cv2.setNumThreads(2)  # threads that workers, which are forked, will not have
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1500, 1500))
    memory = prepared(colors)
    assert '--data.memory_gib' not in capsys.readouterr().err
    streamed = prepared(colors, memory_gib=0, workers=workers)
    assert '0.00024 GiB of pictures are more than --data.memory_gib 0' in capsys.readouterr().err
    for held, read in zip(memory.val_dataloader(), streamed.val_dataloader(), strict=True):
        assert torch.equal(held[0], read[0])
        assert torch.equal(held[1], read[1])
    batches = list(zip(memory.train_dataloader(), streamed.train_dataloader(), strict=True))
    assert len(batches) == 4
    for held, read in batches:
        assert torch.equal(held[1], read[1])  # the order is the same
        assert not torch.equal(held[0], read[0])  # random parts
        assert read[0].shape == (16, 32, 32, 3)


@pytest.mark.parametrize('memory_gib', [8, 0])
def test_a_sample_is_what_the_first_epoch_shows(colors: Path, memory_gib: float) -> None:
    how = {'memory_gib': memory_gib, 'workers': 0, 'mix': 0.5 * bool(memory_gib), 'light': 0.3}
    data = prepared(colors, erase=8, **how)
    sample = data.sample(5)
    assert torch.equal(sample, data.sample(5))
    seen = [data.on_after_batch_transfer(batch, 0)[0] for batch in data.train_dataloader()]
    assert set(pixels(data.sample(1000))) > set(pixels(torch.cat(seen)))  # all but a short batch
    assert len(data.sample(1000)) == 72
    assert set(pixels(sample)) < set(pixels(data.sample(1000)))
    assert len(set(pixels(sample))) == 5


def test_streamed_pictures_are_cut_anew_in_each_epoch(colors: Path) -> None:
    loader = prepared(colors, memory_gib=0, workers=1).train_dataloader()

    def epoch(number: int) -> torch.Tensor:
        loader.sampler.set_epoch(number)
        return torch.cat([images for images, *_ in loader])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_streamed_pictures_are_turned_and_lit_but_not_scaled_again(colors: Path) -> None:
    data = prepared(colors, memory_gib=0, workers=0, zoom=0.5, turn=20.0, light=0.3)
    batch = next(iter(data.train_dataloader()))
    images, _ = data.on_after_batch_transfer(batch, 0)
    drawn = data.drawn.changes[batch[2]]
    assert drawn.warp[:, :, 0].norm(dim=1).tolist() == pytest.approx([1] * 16)  # turned only
    assert (drawn.warp != torch.eye(2, 3)).any()
    assert torch.equal(images, change(batch[0], torch.arange(16), drawn))


def pixels(images: torch.Tensor) -> list[bytes]:
    return sorted(image.numpy().tobytes() for image in images)


def test_processes_share_the_pictures_and_memory(colors: Path) -> None:
    alone = prepared(colors)
    pair = [prepared(colors, rank, 2, memory_gib=1e-3) for rank in (0, 1)]
    for batches in zip(*(d.train_dataloader() for d in (alone, *pair)), strict=True):
        one, *two = (
            d.on_after_batch_transfer(batch, 0)[0]
            for d, batch in zip((alone, *pair), batches, strict=True)
        )
        assert [len(images) for images in two] == [8, 8]
        assert pixels(torch.cat(two)) == pixels(one)  # augmented alike
    assert not any(data.streamed for data in pair)
    size = 84 * 3 * 32**2 / 2**30  # GiB: 72 and 12 pictures
    assert not prepared(colors, memory_gib=1.5 * size).streamed
    assert prepared(colors, 0, 2, memory_gib=1.5 * size).streamed


def test_what_processes_can_not_share_is_refused_before_decoding(colors: Path) -> None:
    with pytest.raises(DataError, match="3 processes can't share 16 pictures alike"):
        prepared(colors, 0, 3)
    with pytest.raises(DataError, match='a split of 12 pictures for 16 processes'):
        prepared(colors, 0, 16)


@pytest.mark.parametrize('memory_gib', [8, 0])
def test_the_part_that_is_left_out_is_not_seen(colors: Path, memory_gib: float) -> None:
    data = prepared(
        colors, memory_gib=memory_gib, parts=3, leave_out=1, mix=1.0 * bool(memory_gib)
    )
    loader = data.train_dataloader()
    seen = torch.cat([which for *_, which in loader])
    assert len(loader.sampler) == 48
    assert not (seen % 3 == 1).any()
    assert len(seen.unique()) == len(seen) == 48
    assert len(data.sample(1000)) == 48


@pytest.mark.parametrize(('parts', 'leave_out'), [(0, None), (1, 0), (3, 3), (3, -1)])
def test_parts_that_can_not_be_are_refused(
    colors: Path, parts: int, leave_out: int | None
) -> None:
    with pytest.raises(DataError, match='one of several'):
        PictureData(str(colors), parts=parts, leave_out=leave_out)


def test_more_parts_than_pictures_are_refused(colors: Path) -> None:
    PictureData(str(colors), parts=72, leave_out=71)
    with pytest.raises(DataError, match='has 72 training pictures for 73 parts; choose fewer'):
        PictureData(str(colors), parts=73, leave_out=72)
