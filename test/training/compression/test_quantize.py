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
"""One layer's levels: what they cost, what they lose, and what they make up for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sqz_perception.model import codec
from sqz_perception.model.steps import code_of
from training.compression import quantize as quantizer
from training.compression.quantize import (
    REACH,
    Quantised,
    moments,
    predicted_loss,
    quantise,
    quantise_bias,
)

OUT, IN, SAMPLES = 12, 20, 4000
EQUAL = torch.ones(OUT, dtype=torch.float64)


def layer(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return a weight (OUT, IN) and a bias (OUT,)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(OUT, IN, generator=generator, dtype=torch.float64)
    return weight, torch.randn(OUT, generator=generator, dtype=torch.float64)


def inputs(seed: int = 1) -> Tensor:
    """Return samples (SAMPLES, IN) that hang together, none below zero, as after a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    causes = torch.randn(SAMPLES, 6, generator=generator)
    mixed = causes @ torch.randn(6, IN, generator=generator)
    mixed += 0.3 * torch.randn(SAMPLES, IN, generator=generator)
    return mixed.relu()


def bits(found: Quantised) -> float:
    return float(codec.costs(found.levels.numpy().astype(np.int8)).sum())


def error(weight: Tensor, bias: Tensor, found: Quantised, before: Tensor, now: Tensor) -> float:
    """Return the mean squared error of the outputs."""
    wanted = before.double() @ weight.T + bias
    return float(((now.double() @ found.weight.T + found.bias - wanted) ** 2).mean())


def test_levels_and_steps_are_what_a_file_stores_small() -> None:
    weight, bias = layer()
    found = quantise(weight, bias, moments(inputs(), inputs()), EQUAL, 1e-2)
    assert torch.equal(found.levels, found.levels.round())
    assert 1 <= found.levels.abs().max() <= REACH
    assert code_of(found.step.numpy().astype(np.float32)) is not None


def test_a_bit_that_is_worth_less_is_kept() -> None:
    weight, bias = layer()
    seen = moments(inputs(), inputs())
    found = [quantise(weight, bias, seen, EQUAL, trade) for trade in (1e-3, 1e-1, 1e1)]
    sizes = [bits(one) for one in found]
    errors = [error(weight, bias, one, inputs(), inputs()) for one in found]
    assert sizes[0] > 1.3 * sizes[1] > 1.3**2 * sizes[2]
    assert 3 * errors[0] < errors[1] < errors[2] / 3


def test_fewer_bits_and_less_error_than_rounding_to_nearest() -> None:
    weight, bias = layer()
    found = quantise(weight, bias, moments(inputs(), inputs()), EQUAL, 0.3)
    levels = (weight / found.step[:, None]).round()
    kept = bias + (weight - levels * found.step[:, None]) @ inputs().double().mean(0)
    nearest = Quantised(levels, found.step, kept)
    assert bits(found) < bits(nearest)
    ours, theirs = (error(weight, bias, one, inputs(), inputs()) for one in (found, nearest))
    assert ours < 0.7 * theirs


def test_the_descent_makes_loss_and_bits_together_less(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias = layer()
    seen, trade = moments(inputs(), inputs()), 0.3

    def cost(found: Quantised) -> float:
        return predicted_loss(weight, found, seen, EQUAL) + trade * bits(found)

    with monkeypatch.context() as patched:
        patched.setattr(quantizer, 'DESCENTS', 0)
        greedy = quantise(weight, bias, seen, EQUAL, trade)
    found = quantise(weight, bias, seen, EQUAL, trade)
    torch.testing.assert_close(found.step, greedy.step)
    assert cost(found) < 0.99 * cost(greedy)


def test_the_mean_of_each_output_stays() -> None:
    weight, bias = layer()
    before, now = inputs(), 0.8 * inputs() + 0.1
    found = quantise(weight, bias, moments(before, now), EQUAL, 1.0)
    wanted = (before.double() @ weight.T + bias).mean(0)
    torch.testing.assert_close(
        (now.double() @ found.weight.T + found.bias).mean(0), wanted, atol=1e-4, rtol=1e-4
    )


def test_a_layer_makes_up_for_the_errors_before_it() -> None:
    weight, bias = layer()
    before = inputs()
    now = before + 0.3 * before.roll(1, dims=1)  # every input has some of another's in it
    told = quantise(weight, bias, moments(before, now), EQUAL, 1e-2)
    untold = quantise(weight, bias, moments(now, now), EQUAL, 1e-2)
    assert error(weight, bias, told, before, now) < error(weight, bias, untold, before, now) / 10


def test_channels_that_matter_more_are_kept_better() -> None:
    weight, bias = layer()
    importance = torch.where(torch.arange(OUT) < OUT // 2, 100.0, 1.0).double()
    found = quantise(weight, bias, moments(inputs(), inputs()), importance, 1.0)
    assert found.step[: OUT // 2].max() < found.step[OUT // 2 :].min() / 5


def test_the_predicted_loss_is_that_of_the_outputs() -> None:
    weight, bias = layer()
    seen = moments(inputs(), inputs())
    found = quantise(weight, bias, seen, EQUAL, 1e-1)
    predicted = predicted_loss(weight, found, seen, EQUAL)
    measured = OUT / 2 * error(weight, bias, found, inputs(), inputs())
    assert predicted == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize('case', ['zero weight', 'dead inputs', 'no importance', 'one sample'])
def test_layers_that_do_nothing_give_finite_levels(case: str) -> None:
    weight, bias = layer()
    samples, importance = inputs(), EQUAL.clone()
    if case == 'zero weight':
        weight = torch.zeros_like(weight)
    elif case == 'dead inputs':
        samples = torch.zeros_like(samples)
    elif case == 'no importance':
        importance = torch.zeros_like(importance)
    else:
        samples = samples[:1]
    found = quantise(weight, bias, moments(samples, samples), importance, 1e-3)
    for values in (found.levels, found.step, found.bias):
        assert values.isfinite().all()
    assert (found.step > 0).all()
    if case == 'zero weight':
        assert not found.levels.any()
        torch.testing.assert_close(found.bias, bias)


def test_a_bias_is_as_fine_as_its_importance_asks_for() -> None:
    _, bias = layer()
    fine, step = quantise_bias(bias, EQUAL, 1e-9)
    assert fine.abs().max() > 60  # an eighth of an octave more than 127 / 2
    assert float((fine * step - bias).abs().max()) <= step / 2
    coarse, wide = quantise_bias(bias, EQUAL, 1e-2)
    assert wide > 4 * step
    assert float((coarse * wide - bias).abs().max()) <= wide / 2
    nothing, any_step = quantise_bias(torch.zeros(4).double(), torch.ones(4).double(), 1e-3)
    assert not nothing.any()
    assert any_step > 0
