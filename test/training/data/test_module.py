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
"""Batches of pictures, from memory and from the disk, for one process and for several."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch._subclasses import FakeTensorMode  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from class_pictures import COLORS, color_members, noisy_picture, png, write_zip  # noqa: E402
from training.data import module as data_module  # noqa: E402
from training.data.augmentation import change  # noqa: E402
from training.data.module import PictureData, in_batches  # noqa: E402
from training.errors import DataError  # noqa: E402


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


def batches_of(data: PictureData, loader: DataLoader) -> Iterator[tuple[torch.Tensor, ...]]:
    """Give the batches of ``loader`` as a trainer gets them."""
    return (data.on_before_batch_transfer(batch, 0) for batch in loader)


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
    shown = batches_of(streamed, streamed.val_dataloader())
    for held, read in zip(memory.val_dataloader(), shown, strict=True):
        assert torch.equal(held[0], read[0])
        assert torch.equal(held[1], read[1])
    shown = batches_of(streamed, streamed.train_dataloader())
    batches = list(zip(memory.train_dataloader(), shown, strict=True))
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
    batches = batches_of(data, data.train_dataloader())
    seen = [data.on_after_batch_transfer(batch, 0)[0] for batch in batches]
    assert set(pixels(data.sample(1000))) > set(pixels(torch.cat(seen)))  # all but a short batch
    assert len(data.sample(1000)) == 72
    assert set(pixels(sample)) < set(pixels(data.sample(1000)))
    assert len(set(pixels(sample))) == 5


def test_streamed_pictures_are_cut_anew_in_each_epoch(colors: Path) -> None:
    data = prepared(colors, memory_gib=0, workers=1)
    loader = data.train_dataloader()

    def epoch(number: int) -> torch.Tensor:
        loader.sampler.set_epoch(number)
        return torch.cat([images for images, *_ in batches_of(data, loader)])

    assert torch.equal(epoch(0), epoch(0))
    assert not torch.equal(epoch(0), epoch(1))


def test_streamed_pictures_are_turned_and_lit_but_not_scaled_again(colors: Path) -> None:
    data = prepared(colors, memory_gib=0, workers=0, zoom=0.5, turn=20.0, light=0.3)
    batch = next(batches_of(data, data.train_dataloader()))
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


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 4))
def test_processes_validate_every_picture_once_and_in_step(
    count: int, most: int, processes: int
) -> None:
    most, count = max(2, most), max(count, processes)
    shares = [in_batches(count, most, rank, processes) for rank in range(processes)]
    assert sorted(i for share in shares for batch in share for i in batch) == [*range(count)]
    assert len({len(share) for share in shares}) == 1
    assert all(1 <= len(batch) <= most for share in shares for batch in share)


STREAM = """
import sys
from types import SimpleNamespace
from training.data import PictureData

data = PictureData(sys.argv[1], batch_size=36, size=128, memory_gib=0, workers=2)
data.trainer = SimpleNamespace(global_rank=0, world_size=1, num_devices=1)
data.setup()
print(sum(1 for _ in data.train_dataloader()), 'batches')
"""


def test_streamed_batches_need_no_shared_memory(colors: Path) -> None:
    loader = prepared(colors, memory_gib=0, workers=0).train_dataloader()
    batch = next(iter(loader))
    # A tensor would be a name of some bytes here, and its values in /dev/shm.
    assert len(ForkingPickler.dumps(batch)) > 16 * 3 * 32**2


@pytest.mark.slow
def test_a_streamed_training_does_not_hang_in_a_small_container(colors: Path) -> None:
    private = ['unshare', '--map-root-user', '--mount', 'sh', '-c']
    mount = 'mount -t tmpfs -o size=64k tmpfs /dev/shm'
    try:
        subprocess.run([*private, mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('no private mounts here')
    done = subprocess.run(
        [*private, f'{mount} && exec "$@"', 'sh', sys.executable, '-c', STREAM, str(colors)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == '2 batches\n', done.stderr


def test_pictures_for_more_than_the_free_memory_are_refused_before_decoding(
    colors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, 'free_gib', lambda: 2e-4)
    with pytest.raises(DataError, match=r'0.00024 GiB of pictures exceed the 0.0002 GiB of free'):
        prepared(colors)
    assert prepared(colors, memory_gib=1e-4).streamed


@pytest.mark.parametrize(
    ('label', 'shown'),
    [
        ('snowy\u00a0owl', r'snowy\xa0owl'),
        ('a\u200cb', r'a\u200cb'),
        ('a' * 100 + '\u00ad', 'a' * 40),
    ],
)
def test_a_class_that_no_model_file_can_hold_is_refused_before_training(
    tmp_path: Path, label: str, shown: str
) -> None:
    members = color_members(1, 1)
    members |= {
        f'{s}/{label}/1.png': png(noisy_picture(COLORS['red'], 0)) for s in ('train', 'val')
    }
    with pytest.raises(DataError, match='is not a printable text') as error:
        PictureData(str(write_zip(tmp_path / 'a.zip', members)))
    assert shown in str(error.value)
    assert 'rename the folder' in str(error.value)


def test_mixing_is_refused_where_pictures_are_streamed(colors: Path) -> None:
    with pytest.raises(DataError, match=r'--data.mix is .* raise --data.memory_gib to 1'):
        prepared(colors, memory_gib=0, mix=0.5)


def test_on_a_gpu_nothing_comes_from_the_processor_in_each_step(colors: Path) -> None:
    """It would have to wait for it. A make-believe GPU refuses to mix what lies on both."""
    data = prepared(colors, erase=6, mix=0.5, zoom=0.2, turn=10.0, light=0.1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = tuple(torch.empty_like(v, device='cuda') for v in data.splits['train'][:8])
        which = torch.empty(8, dtype=torch.int64, device='cuda')
        data.on_after_batch_transfer((*batch, which), 0)
        now = data.drawn
        found = data.on_after_batch_transfer((*batch, which), 0)
    assert data.drawn is now
    assert [v.device.type for v in found] == ['cuda'] * 2
    assert [tuple(v.shape) for v in found] == [(8, 32, 32, 3), (8, 3)]
