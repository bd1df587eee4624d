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
"""The pictures that a run shows of what it trains on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from pytorch_lightning import Trainer  # noqa: E402

from tiny_runs import arguments  # noqa: E402
from training import train  # noqa: E402
from training.reporting import plots  # noqa: E402

CHANNELS = ('red', 'green', 'blue')


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return what is drawn from now on."""
    drawn: list[tuple[Any, ...]] = []
    monkeypatch.setattr(plots, 'pictures', lambda *what: drawn.append(what))
    return drawn


def test_a_run_shows_its_first_pictures_once_with_their_classes(
    colors: Path, tmp_path: Path, shown: list[tuple[Any, ...]]
) -> None:
    train.train(arguments(colors, tmp_path, 2, data__erase='0', data__batch_size='40'))
    ((images, titles, path),) = shown
    assert images.shape == (32, 32, 32, 3)
    assert titles == [CHANNELS[i] for i in images.mean((1, 2)).argmax(1)]
    assert path == tmp_path / 'pictures.png'


def test_a_mixed_picture_s_classes_are_shown_with_their_shares(
    colors: Path, tmp_path: Path, shown: list[tuple[Any, ...]]
) -> None:
    train.train(arguments(colors, tmp_path, 1, data__erase='0', data__mix='1'))
    ((images, titles, _),) = shown
    found = images.argmax(3)  # the brightest channel of each pixel
    mixed = 0
    for picture, title in zip(found, titles, strict=True):
        shares = [100 * (picture == i).mean() for i in range(3)]
        if '\n' not in title:
            assert title == CHANNELS[max(range(3), key=lambda i: shares[i])]
            continue
        mixed += 1
        for line in title.splitlines():
            name, share, sign = line.split()
            assert float(share) == pytest.approx(shares[CHANNELS.index(name)], abs=1)
            assert sign == '%'
    assert mixed > 3


def test_of_several_processes_the_first_shows_them(
    colors: Path, tmp_path: Path, shown: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, 'is_global_zero', False)
    train.train(arguments(colors, tmp_path, 1))
    assert not shown
