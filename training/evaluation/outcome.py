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
"""What a model makes of labelled pictures: top-1, top-5, classes, divergence."""

from __future__ import annotations

import argparse
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from sqz_perception.inference import frames
from sqz_perception.inference.backend import BACKENDS
from sqz_perception.inference.classifier import LoadedModel
from sqz_perception.inference.options import add_runtime, count
from training.data.archive import Archive, evenly, place, some
from training.errors import DataError
from training.evaluation.reliability import best_scores, calibration_error, log_probabilities

TOP = 5


@dataclass(frozen=True)
class Outcome:
    """What a model said of each picture."""

    truth: NDArray[np.int64]  # (pictures,)
    ranked: NDArray[np.int64]  # (pictures, up to TOP), best first
    milliseconds: NDArray[np.float64] = field(repr=False)  # (pictures,): fit and inference
    logits: NDArray[np.float32] = field(repr=False)  # (pictures, classes)

    def top(self, k: int) -> float:
        """Share of the pictures, in percent, whose class is among the ``k`` best."""
        return float(100 * (self.ranked[:, :k] == self.truth[:, None]).any(axis=1).mean())

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the best class is the picture's: (pictures,)."""
        return self.ranked[:, 0] == self.truth

    @property
    def scores(self) -> NDArray[np.float64]:
        """Return what the robot would give the best class, 0 to 1: (pictures,)."""
        return best_scores(self.logits)

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """Return (true class, class answered) -> pictures."""
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (self.truth, self.ranked[:, 0]), 1)
        return counts


def truth(names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """
    Return the class of each picture by its name in the archive.

    Raise DataError naming the folders that are no label, or the first name without a number.
    """
    known = _Known(labels)
    found = [known.label(name) for name in names]
    folders = {_class_folder(name) for name in names if '/' in name}
    unknown = sorted(
        {_class_folder(n) for n, i in zip(names, found, strict=True) if i is None and '/' in n}
    )
    if unknown and len(folders) > 1:
        raise DataError(
            f'{len(unknown)} of {len(folders)} folders are no label of the model: '
            f'{some(unknown)}; its labels are {some(labels)}'
        )
    return [
        _number(name, len(labels)) if index is None else index
        for name, index in zip(names, found, strict=True)
    ]


def chosen(archive: Archive, limit: int = 0) -> tuple[str, ...]:
    """Return the pictures to measure with, at most ``limit`` (0: all) taken evenly from them."""
    names = archive.names
    if archive.part('train') and archive.part('val'):
        names = archive.part('val')
    return evenly(names, limit) if limit else names


def check_labels(path: str, model: LoadedModel, of: str, other: LoadedModel) -> None:
    """Raise DataError where ``model``, read from ``path``, can't be set beside ``other``."""
    if model.labels != other.labels:
        raise DataError(f'{path} has other labels than {of}')


def evaluate(model: LoadedModel, archive: Archive, limit: int = 0) -> Outcome:
    """
    Classify the pictures of ``archive``, at most ``limit`` (0: all) taken evenly from them.

    Raises DataError for a picture that can't be decoded or whose class is unknown.
    """
    names = chosen(archive, limit)
    classes = truth(names, model.labels)
    answers, milliseconds = [], []
    for name in tqdm(names, 'evaluating', unit=' pictures', disable=None):
        picture = archive.picture(name)
        start = time.perf_counter()
        logits = model.backend.logits(frames.fit(picture, model.input))
        milliseconds.append((time.perf_counter() - start) * 1e3)
        answers.append(logits)
    found = np.array(answers)
    ranked = np.argsort(-found, axis=1, kind='stable')[:, :TOP]
    return Outcome(np.array(classes), ranked, np.array(milliseconds), found)


def summary(model: LoadedModel, outcome: Outcome) -> dict[str, object]:
    """Return the figures that ``--json`` prints."""
    return {
        'top1': round(outcome.top(1), 3),
        'top5': round(outcome.top(TOP), 3),
        'score_mean': round(float(outcome.scores.mean()), 4),
        'calibration_error': round(calibration_error(outcome.scores, outcome.right), 4),
        'images': len(outcome.truth),
        'ms_mean': round(float(outcome.milliseconds.mean()), 3),
        'ms_median': round(float(np.median(outcome.milliseconds)), 3),
        'model': model.name,
        'release': model.release,
        'identity': model.identity,
        'backend': model.backend.description,
    }


def against(outcome: Outcome, original: Outcome) -> dict[str, object]:
    """
    Return how far ``outcome`` is from another model's, its ``original``, on the same pictures.

    The divergence tells more of a compression than the accuracy on the few pictures at hand.
    """
    return {
        'top1_original': round(original.top(1), 3),
        'top5_original': round(original.top(TOP), 3),
        'same_top1': round(float(100 * (outcome.ranked[:, 0] == original.ranked[:, 0]).mean()), 3),
        'divergence': round(divergence(original.logits, outcome.logits), 5),
    }


def divergence(original: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the mean Kullback-Leibler divergence of two answers (N, classes), in nats."""
    expected, found = (log_probabilities(logits) for logits in (original, other))
    return float((np.exp(expected) * (expected - found)).sum(axis=1).mean())


def by_class(outcome: Outcome, labels: Sequence[str]) -> dict[str, dict[str, object]]:
    """Return, for each class with pictures, its top-1 in percent and what it is taken for most."""
    counts = outcome.confusion(len(labels))
    rows: dict[str, dict[str, object]] = {}
    for index in np.flatnonzero(counts.sum(axis=1)).tolist():
        wrong = counts[index].copy()
        wrong[index] = 0
        rows[labels[index]] = {
            'images': int(counts[index].sum()),
            'top1': round(float(100 * counts[index, index] / counts[index].sum()), 3),
            'taken_for': labels[int(wrong.argmax())] if wrong.any() else None,
        }
    return rows


def add_options(to: argparse.ArgumentParser) -> None:
    """Ask for the pictures to measure with, how many, and for the runtime."""
    to.add_argument('--images', required=True, metavar='ZIP_OR_FOLDER')
    to.add_argument('--limit', type=count, default=0, help='pictures at most; 0: all')
    add_runtime(to, ('auto', *BACKENDS))


class _Known:
    """The labels of a model, by name: the exact one first, then one that is spelt alike."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = {label: index for index, label in reversed(list(enumerate(labels)))}
        times = Counter(map(_folded, labels))
        self._alike = {_folded(n): i for n, i in self._exact.items() if times[_folded(n)] == 1}

    def label(self, name: str) -> int | None:
        """Return the class that a folder of the picture ``name`` stands for."""
        for folder in (*place(name)[1:2], *name.split('/')[:-1]):
            index = self._exact.get(folder, self._alike.get(_folded(folder)))
            if index is not None:
                return index
        return None


def _class_folder(name: str) -> str:
    return (place(name)[1:2] or name.split('/')[-2:-1])[0]


def _folded(label: str) -> str:
    return unicodedata.normalize('NFC', label).casefold().replace('_', ' ').strip()


def _number(name: str, classes: int) -> int:
    digits = re.match(r'\d+', name.split('/')[-1])
    if digits is None:
        raise DataError(
            f'{name}: its class is unknown; put the picture into a folder named as its '
            'label, or begin its name with the number of its class'
        )
    if int(digits[0]) >= classes:
        raise DataError(
            f'{name}: there is no class {int(digits[0])}; the model has {classes:,}, '
            'counted from 0'
        )
    return int(digits[0])
