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
"""Robustness: what is done to the pictures, and that it is this that is counted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip('torch', reason='training needs torch, which make test installs')

from class_pictures import noisy_picture, png
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import load
from sqz_perception.model import file
from tiny import LABELS, tiny_model
from training import robustness
from training.data.archive import Archive
from training.evaluation import robustness as changes
from training.evaluation.outcome import evaluate as measured
from training.evaluation.robustness import CHANGES, Change

SIDE = 24
NAMES = [change.name for change in CHANGES]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file.write(tiny_model(side=SIDE), tmp_path / 'tiny.sqz')
    return tmp_path / 'tiny.sqz'


def picture(seed: int = 0, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    """Return a picture without hard edges, with every colour in it."""
    random = np.random.default_rng(seed)
    rough = random.integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def random() -> np.random.Generator:
    return np.random.default_rng(1)


def named(name: str) -> Change:
    return CHANGES[NAMES.index(name)]


@given(st.integers(0, 99), st.integers(1, 40), st.integers(1, 40))
def test_no_change_changes_nothing(seed: int, height: int, width: int) -> None:
    before = picture(seed, height, width)
    for change in CHANGES:
        assert np.array_equal(change.apply(before, change.none, random()), before), change.name


@pytest.mark.parametrize('change', CHANGES, ids=NAMES)
def test_a_picture_keeps_its_size_and_is_more_changed_by_more(change: Change) -> None:
    # Of few pixels, one percent of the side is a blur that can't be seen.
    before = picture(0, 64, 48).astype(float)
    assert list(change.strengths) == sorted(set(change.strengths))
    assert change.none in change.strengths
    apart = []
    for strength in change.strengths:
        after = change.apply(picture(0, 64, 48), strength, random())
        assert (after.shape, after.dtype) == (before.shape, np.uint8)
        apart.append(float(np.abs(after - before).mean()))
    middle = change.strengths.index(change.none)
    assert apart[middle:] == sorted(apart[middle:])
    assert apart[: middle + 1] == sorted(apart[: middle + 1], reverse=True)
    assert min(apart[:middle] + apart[middle + 1 :]) > 0.2


def test_a_quarter_turn_is_to_either_side() -> None:
    seen = {
        changes.turned(picture(), 90, np.random.default_rng(seed)).tobytes() for seed in range(20)
    }
    assert seen == {np.rot90(picture(), k).tobytes() for k in (1, 3)}


def test_twice_as_large_is_the_middle_alone() -> None:
    before = picture()
    after = changes.resized(before, 2, random())
    quarter = SIDE // 4
    middle = cv2.resize(before[quarter:-quarter, quarter:-quarter], (SIDE, SIDE))
    inner = slice(2, -2)  # at the edge the middle alone has nothing around it
    assert np.abs(after[inner, inner].astype(int) - middle[inner, inner]).max() <= 3


def test_blur_and_noise_are_as_strong_as_they_say() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[50, 50] = 255
    assert changes.blurred(point, 1, random())[50, 50, 0] == pytest.approx(
        255 / (2 * math.pi * 1.01**2), abs=2
    )
    grey = np.full((100, 100, 3), 128, np.uint8)
    assert changes.noisy(grey, 20, random()).std() == pytest.approx(20, rel=0.03)


def test_what_is_counted_are_the_changed_pictures(
    model_file: Path, archive_of: Callable[[dict[str, bytes]], Path]
) -> None:
    """The same figures as training.evaluate's, of pictures that are changed already."""
    pictures = [picture(seed) for seed in range(12)]
    names = [f'{LABELS[i % len(LABELS)]}/{i:02d}.png' for i in range(len(pictures))]

    def archive(changed: list[NDArray[np.uint8]]) -> Archive:
        framed = [np.pad(p, ((2, 2), (2, 2), (0, 0))) for p in changed]  # the model cuts it off
        return Archive(archive_of(dict(zip(names, map(png, framed), strict=True))))

    model = load(model_file, Runtime('onnxruntime', 'fp32', 1))
    found = changes.measure(model, archive(pictures))
    order = [*dict.fromkeys(archive(pictures).names)]
    for change in CHANGES:
        for strength in change.strengths:
            changed = [
                change.apply(p, strength, np.random.default_rng(order.index(name)))
                for p, name in zip(pictures, names, strict=True)
            ]
            top1 = measured(model, archive(changed)).top(1)
            assert found[change.name][strength] == pytest.approx(top1), (change.name, strength)
    assert len({share for right in found.values() for share in right.values()}) > 2


def test_the_mean_is_of_what_is_changed() -> None:
    right = {
        change.name: {s: 100.0 if s == change.none else 40.0 for s in change.strengths}
        for change in CHANGES
    }
    assert changes.mean(right) == 40


def test_command_compares_models(
    model_file: Path,
    archive_of: Callable[[dict[str, bytes]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    sure = tmp_path / 'sure.sqz'
    file.write(tiny_model(bias=50.0), sure)
    members = {f'{label}/1.png': png(noisy_picture((9, 99, 50), 1)) for label in LABELS[:2]}
    plot = tmp_path / 'robustness.png'
    line = [str(sure), str(model_file), '--images', str(archive_of(members))]
    assert robustness.main([*line, '--plot', str(plot), '--json']) == 0
    figures = json.loads(capsys.readouterr().out)
    assert list(figures) == [str(sure), str(model_file)]
    assert figures[str(sure)]['turn'] == dict.fromkeys(['0', '10', '20', '30', '45'], 50.0)
    assert cv2.imread(str(plot)) is not None
    assert robustness.main([*line, '--limit', '1']) == 0
    shown = capsys.readouterr().out
    assert shown.count(str(sure)) == len(CHANGES) + 1
    assert 'mean of all that is changed' in shown


def test_models_of_other_labels_are_refused(
    model_file: Path,
    archive_of: Callable[[dict[str, bytes]], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    other = tmp_path / 'other.sqz'
    file.write(replace(tiny_model(), labels=LABELS[::-1]), other)
    images = str(archive_of({f'{LABELS[0]}/1.png': png(picture())}))
    assert robustness.main([str(model_file), str(other), '--images', images]) == 1
    assert 'other.sqz has other labels than' in capsys.readouterr().err
    nowhere = ['--plot', str(tmp_path / 'nowhere' / 'x.png')]
    assert robustness.main([str(model_file), '--images', images, *nowhere]) == 1
    assert 'make it first' in capsys.readouterr().err
