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
"""How often a score is right, as figures."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation import reliability


def test_the_loss_is_the_cross_entropy() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    assert reliability.loss(logits, np.array([0, 2])) == pytest.approx(-np.log([0.5, 0.1]).mean())
    np.testing.assert_allclose(reliability.best_scores(logits), [0.5, 0.8])


def test_scores_are_finite_for_huge_logits() -> None:
    logits = np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)
    assert reliability.best_scores(logits).tolist() == [1, 1]
    assert reliability.loss(logits, np.array([0, 0])) == pytest.approx(5000)


def test_answers_of_like_scores_are_counted_together() -> None:
    scores = np.array([1.0, 0.95, 0.2, 0.21, 0.25])
    right = np.array([True, True, True, False, False])
    low, high = reliability.bins(scores, right)
    assert low == pytest.approx((3 / 15, 3, 0.22, 1 / 3))
    assert high == pytest.approx((14 / 15, 2, 0.975, 1.0))


def test_the_error_is_the_mean_distance() -> None:
    right = np.arange(100) < 80  # of 100, at a score of 0.8
    assert reliability.calibration_error(np.full(100, 0.8), right) == pytest.approx(0)
    assert reliability.calibration_error(np.full(100, 0.7), right) == pytest.approx(0.1)
    mixed = np.concatenate([np.full(100, 0.7), np.full(300, 1.0)])
    all_right = np.concatenate([right, np.full(300, True)])
    assert reliability.calibration_error(mixed, all_right) == pytest.approx(0.1 / 4)
