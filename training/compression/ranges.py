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
How far the values between a model's layers reach, as int8 is to keep them.

A value above the range is clipped to it; a wide range makes coarse steps for all. The range taken
is the one with the least squared error over the calibration pictures. On held-out photos that left
the outputs nearer to those in fp32 than the largest value seen, or a percentile, did.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sqz_perception.model.int8 import (
    SIGNED_LEVELS,
    UNSIGNED_LEVELS,
    Levels,
    kept_levels,
    levels_of,
    never_negative,
    quantised_values,
)
from sqz_perception.model.network import Model
from training.compression.activations import logits
from training.errors import DataError
from training.evaluation.outcome import divergence
from training.model_files.torch_network import TorchNetwork, Watch, batches

BATCH = 4  # pictures
BIN_SHIFT = 16  # of a float32's bits: sign, exponent and 7 bits of the mantissa make a bin
BINS = 2**15  # from 0 to infinity and beyond, 128 to the octave
DIGITS = 4  # of a range: more would only make the file larger
NEGLIGIBLE = 0.002  # nats of divergence that rounding a value may cost anyway
BEARABLE = 0.25  # of what rounding each value costs, in sum
FACTORS = tuple(2 ** (k / 4) for k in range(-4, 5))  # of a range that is refined
OCTAVES = 3  # below the largest value, where the range is looked for


def calibrate(model: Model, pictures: NDArray[np.uint8]) -> dict[str, float]:
    """
    Return a range for each value that a convolution takes, by its name: ``Model.ranges``.

    ``pictures`` is uint8 (N, height, width, 3) in BGR, cut to the model's input. A value that
    is zero on all of them gets no range, so that its convolution stays in floating point.
    Raises DataError where there are no pictures or a value is no number.
    """
    if not len(pictures):
        raise DataError('no pictures to find the ranges of int8 with; give 100 or more')
    unsigned = never_negative(model)
    ranges = {}
    for name, histogram in histograms(model, pictures).items():
        if histogram[_bin(np.inf) :].any():
            raise DataError(f'{model.name}: the output of {name} is infinite or no number')
        if histogram[1:].any():
            levels = UNSIGNED_LEVELS if name in unsigned else SIGNED_LEVELS
            ranges[name] = float(f'{best_range(histogram, levels):.{DIGITS}g}')
    return ranges


def rounding(model: Model) -> Watch:
    """Return what rounds values as the model's int8 arithmetic does, as ``rounding_to`` does."""
    return rounding_to(kept_levels(model))


def rounding_to(kept: Mapping[str, Levels]) -> Watch:
    """
    Return a watch for TorchNetwork that rounds values, by their names, to these levels.

    It works in place: the values are gone afterwards.
    """

    def watch(name: str, values: torch.Tensor) -> torch.Tensor | None:
        if name not in kept:
            return None
        levels = kept[name]
        rounded = values.div_(levels.step).round_().clamp_(levels.lowest, levels.highest)
        return rounded.mul_(levels.step)

    return watch


def refined(
    model: Model, ranges: Mapping[str, float], pictures: NDArray[np.uint8]
) -> dict[str, float]:
    """
    Return ``ranges``, those of the few values whose rounding costs most chosen by what it costs.

    In SqueezeNet v1.0 one of 18 values, the 16 channels of fire2's squeeze layer, moves the
    answers as much as all others together; there the least squared error is not the least harm.
    """
    net, unsigned = TorchNetwork(model), never_negative(model)
    original = logits(net, pictures).numpy()

    def cost(name: str, reach: float) -> float:
        """Return the divergence, in nats, that comes of rounding this value alone."""
        watch = rounding_to({name: levels_of(reach, name in unsigned)})
        return divergence(original, logits(net, pictures, watch).numpy())

    progress = tqdm(ranges.items(), 'rounding', unit=' values', disable=None)
    costs = {name: cost(name, reach) for name, reach in progress}
    most = max(NEGLIGIBLE, BEARABLE * sum(costs.values()))
    found = dict(ranges)
    for name in (name for name in ranges if costs[name] > most):
        tried = [float(f'{ranges[name] * factor:.{DIGITS}g}') for factor in FACTORS]
        _, found[name] = min((cost(name, reach), reach) for reach in tried)
    return found


def histograms(model: Model, pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    """Return how many values of each magnitude (BINS,) every value has that is quantised."""
    found = {name: np.zeros(BINS, np.int64) for name in sorted(quantised_values(model).values())}

    def watch(name: str, values: torch.Tensor) -> None:
        if name in found:
            bits = values.abs().contiguous().view(torch.int32) >> BIN_SHIFT
            found[name] += torch.bincount(bits.flatten(), minlength=BINS).numpy()

    net = TorchNetwork(model)
    with torch.inference_mode():
        for batch in tqdm(batches(pictures, BATCH), 'ranges', unit=' batches', disable=None):
            net(batch, watch)
    return found


def best_range(histogram: NDArray[np.int64], levels: int) -> float:
    """Return the range of least squared error: that of rounding below, of clipping above."""
    (used,) = np.nonzero(histogram)
    values, counts = _middles(used), histogram[used]
    candidates = _middles(np.arange(max(1, used[-1] - 128 * OCTAVES), used[-1] + 1))
    rounding = np.minimum(values**2, (candidates[:, None] / levels) ** 2 / 12)
    error = np.where(values > candidates[:, None], (values - candidates[:, None]) ** 2, rounding)
    return float(candidates[np.argmin(error @ counts)])


def _middles(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the magnitude in the middle of each bin."""
    bits = (bins.astype(np.int32) << BIN_SHIFT) + (1 << (BIN_SHIFT - 1))
    return bits.view(np.float32).astype(np.float64)


def _bin(value: float) -> int:
    return int(np.float32(value).view(np.int32)) >> BIN_SHIFT
