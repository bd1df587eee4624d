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
"""Pictures as a robot sees them: nearer, turned, in another light, blurred, noisy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sqz_perception.inference import frames
from sqz_perception.inference.classifier import LoadedModel
from training.data.archive import Archive
from training.data.augmentation import relight, warp, warps
from training.evaluation.outcome import chosen, truth

Picture = NDArray[np.uint8]  # (height, width, 3) in BGR order
Random = np.random.Generator


@dataclass(frozen=True)
class Change:
    """What is done to pictures, more and more of it."""

    name: str
    unit: str
    strengths: tuple[float, ...]  # rising
    none: float  # of these, the one that leaves a picture as it is
    apply: Callable[[Picture, float, Random], Picture]


def resized(picture: Picture, factor: float, _: Random) -> Picture:
    """Return the picture with all that it shows ``factor`` times as large, about its centre."""
    return _warped(picture, 0, factor)


def turned(picture: Picture, degrees: float, random: Random) -> Picture:
    """Return the picture turned about its centre, to the left or to the right."""
    return _warped(picture, degrees * random.choice((-1, 1)), 1)


def _warped(picture: Picture, degrees: float, factor: float) -> Picture:
    height, width = picture.shape[:2]
    where = warps(torch.tensor([float(factor)]), torch.tensor([float(degrees)]), width / height)
    return warp(torch.from_numpy(picture)[None], where)[0].numpy()


def lit(picture: Picture, factor: float, _: Random) -> Picture:
    """Return the picture with all values times ``factor``."""
    return _relit(picture, (factor, 1, 1))


def contrasted(picture: Picture, factor: float, _: Random) -> Picture:
    """Return the picture with all distances to its mean brightness times ``factor``."""
    return _relit(picture, (1, factor, 1))


def saturated(picture: Picture, factor: float, _: Random) -> Picture:
    """Return the picture with the distances to each pixel's own brightness times ``factor``."""
    return _relit(picture, (1, 1, factor))


def _relit(picture: Picture, light: tuple[float, float, float]) -> Picture:
    rgb = torch.from_numpy(picture).flip(2)[None]
    return relight(rgb, torch.tensor([light], dtype=torch.float32))[0].flip(2).numpy()


def blurred(picture: Picture, percent: float, _: Random) -> Picture:
    """Return the picture out of focus: a Gaussian, sigma in percent of the shorter side."""
    if not percent:
        return picture
    sigma = percent / 100 * min(picture.shape[:2])
    values = picture.astype(np.float32)  # of integers OpenCV does not blur by little
    return _uint8(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def noisy(picture: Picture, deviation: float, random: Random) -> Picture:
    """Return the picture with Gaussian noise of that deviation, of 255, in each value."""
    return _uint8(picture + deviation * random.standard_normal(picture.shape, np.float32))


def _uint8(values: NDArray[np.generic]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


CHANGES = (
    Change('size', 'times', (0.6, 0.7, 0.85, 1, 1.15, 1.3, 1.6), 1, resized),
    Change('turn', 'degrees', (0, 10, 20, 30, 45), 0, turned),
    Change('brightness', 'times', (0.2, 0.4, 0.7, 1, 1.3, 1.6, 2), 1, lit),
    Change('contrast', 'times', (0.2, 0.4, 0.6, 1, 1.4, 2), 1, contrasted),
    Change('saturation', 'times', (0, 0.5, 1, 1.5, 2), 1, saturated),
    Change('blur', '% of the side', (0, 1, 2, 3, 4), 0, blurred),
    Change('noise', 'of 255', (0, 5, 10, 20, 30), 0, noisy),
)
CASES = [(change, strength) for change in CHANGES for strength in change.strengths]
Right = Mapping[str, Mapping[float, float]]  # by a change's name and strength: percent


def measure(model: LoadedModel, archive: Archive, limit: int = 0) -> Right:
    """
    Return how many of the pictures ``model`` has right, in percent, under each change.

    Of ``archive``, at most ``limit`` (0: all) taken evenly. Raises DataError as evaluate does.
    """
    names = chosen(archive, limit)
    classes = truth(names, model.labels)
    counts = {change.name: dict.fromkeys(change.strengths, 0) for change in CHANGES}
    bar = tqdm(names, f'{model.name} {model.release}', unit=' pictures', disable=None)
    for number, (name, class_) in enumerate(zip(bar, classes, strict=True)):
        seen = frames.fit(archive.picture(name), model.input)
        as_it_is = _answer(model, seen)
        for change, strength in CASES:
            answer = as_it_is
            if strength != change.none:
                # To one side, with one noise: however strong, and for each model.
                random = np.random.default_rng(number)
                answer = _answer(model, change.apply(seen, strength, random))
            counts[change.name][strength] += answer == class_
    return {
        name: {strength: 100 * right / len(names) for strength, right in of.items()}
        for name, of in counts.items()
    }


def mean(right: Right) -> float:
    """Return the mean, in percent, over all changes, each strength of them that changes any."""
    changed = [(change.name, strength) for change, strength in CASES if strength != change.none]
    return fmean(right[name][strength] for name, strength in changed)


def _answer(model: LoadedModel, picture: Picture) -> int:
    return int(model.backend.logits(picture).argmax())
