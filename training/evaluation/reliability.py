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
"""
Whether a model's scores say how often it is right.

Of the pictures that it answers with a score of 0.8, a calibrated model has 80 % right. How far a
model is from that is told as in Guo et al., On Calibration of Modern Neural Networks, 2017.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of equal width from 0 to 1


class Bin(NamedTuple):
    """The answers whose scores are alike: from ``left``, 1 / BINS wide."""

    left: float
    pictures: int
    score: float  # their mean
    right: float  # share of them, 0 to 1


def log_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithm of each class's score (N, classes) for ``logits`` (N, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def best_scores(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the score (N,) of the class answered, the best one, for ``logits`` (N, classes)."""
    return np.exp(log_probabilities(logits).max(axis=1))


def loss(logits: NDArray[np.floating], truth: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy, in nats, of ``logits`` (N, classes) and classes (N,)."""
    return float(-log_probabilities(logits)[np.arange(len(truth)), truth].mean())


def bins(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """Return the bins that are not empty, lowest scores first; both arguments are (N,)."""
    number = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    chosen = {int(i): number == i for i in np.unique(number)}
    return [
        Bin(i / BINS, int(own.sum()), float(scores[own].mean()), float(right[own].mean()))
        for i, own in chosen.items()
    ]


def calibration_error(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Return how far scores (N,) are from the share that is right, in the mean: 0 to 1."""
    found = bins(scores, right)
    return sum(b.pictures * abs(b.score - b.right) for b in found) / len(scores)
