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
"""The ranges of int8: which values have one, and that it is the one with the least error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import build
from sqz_perception.inference.processor import adds_int8_exactly
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.int8 import int8_inputs
from sqz_perception.model.network import Model, Tensor, self_test_picture
from tiny import int8_model, tiny_model
from training.compression.ranges import BIN_SHIFT, BINS, best_range, calibrate, histograms, refined
from training.errors import DataError


def pictures(model: Model, count: int = 8, first: int = 0) -> np.ndarray:
    return np.stack([self_test_picture(first + n, model.input) for n in range(count)])


def histogram_of(values: np.ndarray) -> np.ndarray:
    bits = np.abs(values).astype(np.float32).view(np.int32) >> BIN_SHIFT
    return np.bincount(bits, minlength=BINS)


def error(values: np.ndarray, reach: float, levels: int) -> float:
    """Return the mean squared error of ``values``, none below zero, in ``levels`` steps."""
    step = reach / levels
    return float(np.mean((np.clip(np.rint(values / step), 0, levels) * step - values) ** 2))


def test_every_value_that_a_convolution_takes_has_a_range() -> None:
    model = tiny_model(dtype=np.int8)
    ranges = calibrate(model, pictures(model, 4))
    assert list(ranges) == ['image', 'relu1', 'relu2', 'squeeze']  # a pool has what it takes
    assert set(int8_inputs(replace(model, ranges=ranges))) == {n.name for n in model.convolutions}
    whole = int8_model().ranges  # the largest magnitudes on the same pictures
    for name, reach in ranges.items():
        assert 0.4 * whole[name] < reach < 1.01 * whole[name]
    assert calibrate(model, pictures(model, 4)) == ranges
    assert 119 / 60 < ranges['image'] < 156 / 60  # (0 to 255 - mean) * scale


@pytest.mark.parametrize('levels', [127, 255])
@pytest.mark.parametrize('tail', ['uniform', 'exponential', 'outlier'])
def test_the_range_has_the_least_squared_error(levels: int, tail: str) -> None:
    rng = np.random.default_rng(4)
    values = {
        'uniform': rng.uniform(0, 3, 50_000),
        'exponential': rng.exponential(7, 50_000),
        'outlier': np.append(rng.uniform(0, 3, 500_000), 30),
    }[tail]
    found = best_range(histogram_of(values), levels)
    errors = [error(values, reach, levels) for reach in np.linspace(0.1, 1, 91) * values.max()]
    assert error(values, found, levels) <= 1.03 * min(errors)
    assert found <= 1.01 * values.max()


def test_zeros_and_a_single_value() -> None:
    assert best_range(histogram_of(np.array([0.0, 0.0, 5.0])), 255) == pytest.approx(5, rel=0.01)
    assert best_range(histogram_of(np.array([3e-39])), 255) == pytest.approx(3e-39, rel=0.01)


@pytest.mark.skipif(not adds_int8_exactly(127), reason='this processor has no VNNI')
def test_the_outputs_are_nearer_than_with_the_largest_values() -> None:
    model = int8_model(5)
    unseen = pictures(model, 40, first=100)
    calibrated = replace(model, ranges=calibrate(model, pictures(model, 40)))

    def distance(judged: Model) -> float:
        runs = [
            build(one, Runtime('onnxruntime', precision, 1))
            for one, precision in ((model, 'fp32'), (judged, 'int8'))
        ]
        return float(np.mean([np.square(runs[0].logits(p) - runs[1].logits(p)) for p in unseen]))

    wide = replace(model, ranges={name: 2 * reach for name, reach in model.ranges.items()})
    assert distance(calibrated) < distance(wide)


def test_the_range_of_the_value_that_costs_most_is_chosen_by_what_it_costs() -> None:
    model = tiny_model(dtype=np.int8)
    seen = pictures(model, 40)
    ranges = calibrate(model, seen)
    clipped = {**ranges, 'squeeze': ranges['squeeze'] / 4}
    found = refined(model, clipped, seen)
    assert found == {**ranges, 'squeeze': found['squeeze']}
    assert 1.4 * clipped['squeeze'] < found['squeeze'] <= 2 * clipped['squeeze']


def test_what_costs_next_to_nothing_keeps_its_range() -> None:
    """Though one of the values costs most of it."""
    model = tiny_model(dtype=np.int8)
    seen = pictures(model, 40)
    wide = {name: 2 * reach for name, reach in calibrate(model, seen).items()}
    assert refined(model, wide, seen) == wide


def test_a_value_that_is_always_zero_has_no_range() -> None:
    model = tiny_model(dtype=np.int8)
    sunk = Tensor('conv1.bias', np.full(8, -1e6, np.float32))
    model = replace(model, tensors={**model.tensors, 'conv1.bias': sunk})
    ranges = calibrate(model, pictures(model))
    assert 'relu1' not in ranges
    assert to_onnx(replace(model, ranges=ranges), int8=True)


def test_no_pictures_and_no_numbers_are_named() -> None:
    model = tiny_model()
    with pytest.raises(DataError, match='no pictures'):
        calibrate(model, np.zeros((0, 24, 24, 3), np.uint8))
    broken = Tensor('conv1.bias', np.full(8, np.inf, np.float32))
    model = replace(model, tensors={**model.tensors, 'conv1.bias': broken})
    with pytest.raises(DataError, match='the output of relu1 is infinite or no number'):
        calibrate(model, pictures(model))


def test_negative_values_count_by_their_magnitude() -> None:
    model = tiny_model()
    counts = histograms(model, pictures(model))
    assert {name: int(count.sum()) for name, count in counts.items()} == {
        'image': 8 * 3 * 24 * 24,
        'relu1': 8 * 8 * 11 * 11,
        'relu2': 8 * 8 * 5 * 5,
        'squeeze': 8 * 4 * 5 * 5,
    }
