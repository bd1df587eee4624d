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
One convolution's weights -> integer levels, with the size they will have in mind.

The loss that a change d of an output channel's weights costs is taken to be g/2 * d'Hd: H is the
covariance of the layer's inputs, g how much the network's answer depends on that channel. Levels
are found column by column. Each takes the level that is cheapest in loss + trade * bits, and its
error is moved onto the columns still to come, where H says they can make up for it. Then each
column is settled again, with all others as they are, a few times over.

Sources: Hassibi & Stork, Optimal Brain Surgeon (NIPS 1992); Frantar et al., GPTQ, arXiv
2210.17323, for the order and the Cholesky form; the rate in the rounding as in CERWU, arXiv
2505.18758; the descent along the columns as in QuantEase, arXiv 2309.01885. The steps follow from
the trade as in high-rate theory, where a uniform quantiser with entropy coding has the error
step^2 / 12 and gains one bit for every halving of the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sqz_perception.model import codec
from sqz_perception.model.steps import nearest_code, step_of

# Levels of int8 reach 127; an x86 processor without VNNI adds only those up to 64 exactly.
REACH = 64
DAMPING = 0.003  # of the mean variance of the inputs, added to each
FINENESS = 0.7  # steps are finer than theory has them: the rounding makes use of the choice
PASSES = 3  # over all columns, each with the prices of the levels that the last one found
DESCENTS = 3  # over all columns once more, the same
ROW_CLASSES = 4  # output channels whose steps are alike share a table of prices


@dataclass(frozen=True)
class Moments:
    """
    What a convolution takes: in the original network, and in the one compressed so far.

    ``hessian`` (K, K) is the covariance of what it takes now, ``cross`` (K, K) that of the
    original's inputs (rows) with it; ``mean`` and ``original_mean`` are (K,). All are float64;
    K is inputs x rows x columns of the kernel.
    """

    hessian: Tensor
    cross: Tensor
    mean: Tensor
    original_mean: Tensor


@dataclass(frozen=True)
class Quantised:
    """Levels (out, K), their steps (out,), and the bias (out,) that keeps the mean output."""

    levels: Tensor
    step: Tensor
    bias: Tensor

    @property
    def weight(self) -> Tensor:
        """(out, K), as the compressed network has them."""
        return self.levels * self.step[:, None]


def moments(original: Tensor, current: Tensor) -> Moments:
    """Return the moments of the samples ``original`` and ``current``, both (samples, K)."""
    original_mean, mean = original.mean(0), current.mean(0)
    before, now = original - original_mean, current - mean
    hessian = (now.T @ now).double() / len(now)
    damping = DAMPING * hessian.diagonal().mean() + 1e-12
    eye = torch.eye(len(hessian), dtype=torch.float64)
    return Moments(
        hessian + damping * eye,
        (before.T @ now).double() / len(now) + damping * eye,
        mean.double(),
        original_mean.double(),
    )


def quantise(
    weight: Tensor, bias: Tensor, moments: Moments, importance: Tensor, trade: float
) -> Quantised:
    """
    Return ``weight`` (out, K) as levels worth their bits; ``bias`` is (out,), all float64.

    ``importance`` (out,) is the g of above, ``trade`` the loss that one bit may save, in nats.
    """
    wanted = torch.linalg.solve(moments.hessian, (weight @ moments.cross).T).T
    columns = _Columns.of(moments.hessian)
    step = steps(wanted, columns, importance, trade)
    levels = (wanted / step[:, None]).round().clamp(-REACH, REACH)
    for _ in range(PASSES):
        levels = _rounded(wanted, columns, step, importance, _Prices(levels, step, trade))
    for _ in range(DESCENTS):
        prices = _Prices(levels, step, trade)
        _descend(levels, wanted, moments.hessian, step, importance, prices)
    kept = bias + weight @ moments.original_mean - (levels * step[:, None]) @ moments.mean
    return Quantised(levels, step, kept)


def predicted_loss(
    weight: Tensor, found: Quantised, moments: Moments, importance: Tensor
) -> float:
    """Return what ``found`` should cost in the place of ``weight`` (out, K), in nats."""
    error = weight - found.weight
    return float((importance / 2 * ((error @ moments.hessian) * error).sum(dim=1)).sum())


def quantise_bias(bias: Tensor, importance: Tensor, trade: float) -> tuple[Tensor, float]:
    """Return int8 levels (out,) of a bias and their one step, as fine as ``trade`` asks for."""
    fine = math.sqrt(12 * trade / math.log(2) / float(importance.mean().clamp_min(1e-30)))
    reach = float(bias.abs().max())
    step = float(step_of(np.ceil(8 * math.log2(max(reach / 127, 1e-30))).astype(int)))
    step = max(step, float(step_of(nearest_code(fine))) if fine < reach else step)
    return (bias / step).round().clamp(-127, 127), step


def steps(weight: Tensor, columns: _Columns, importance: Tensor, trade: float) -> Tensor:
    """Return the step (out,) of each output channel, one of those that a file stores small."""
    variance = float(torch.exp(-2 * columns.factor.diagonal().log().mean()))
    best = torch.sqrt(12 * trade / (math.log(2) * importance.clamp_min(1e-30) * variance))
    least = weight.abs().amax(dim=1) / REACH
    most = weight.abs().max().clamp_min(1e-30)  # coarser than that all are zero anyway
    step = torch.maximum(FINENESS * best, least).clamp(most * 1e-6, most)
    return torch.from_numpy(step_of(nearest_code(step.numpy()))).double()


@dataclass(frozen=True)
class _Columns:
    """The order of the columns, and the upper Cholesky factor of the inverse Hessian in it."""

    order: Tensor
    factor: Tensor

    @classmethod
    def of(cls, hessian: Tensor) -> _Columns:
        order = hessian.diagonal().argsort(descending=True, stable=True)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order]))
        return cls(order, torch.linalg.cholesky(inverse, upper=True))


class _Prices:
    """What a level costs in each row, in nats: as the coder would price the levels of before."""

    def __init__(self, levels: Tensor, step: Tensor, trade: float) -> None:
        rank = step.argsort(stable=True).argsort(stable=True)
        self.row = rank * min(ROW_CLASSES, len(step)) // len(step)
        tables = [
            codec.prices(levels[self.row == i].numpy().astype(np.int16), REACH)
            for i in range(int(self.row.max()) + 1)
        ]
        self.table = trade * torch.from_numpy(np.stack(tables))

    def __call__(self, levels: Tensor) -> Tensor:
        """Return the price of ``levels`` (choices, out)."""
        return self.table[self.row.expand_as(levels), levels.long() + REACH]


def _rounded(
    weight: Tensor, columns: _Columns, step: Tensor, importance: Tensor, prices: _Prices
) -> Tensor:
    """Return the levels (out, K) of ``weight`` (out, K)."""
    left = weight[:, columns.order]  # a copy; what is still to be rounded, errors and all
    levels = torch.zeros_like(left)
    for k, row in enumerate(columns.factor):
        curvature = importance * (step / row[k]) ** 2
        levels[:, k] = _cheapest(left[:, k] / step, curvature, prices)
        error = (left[:, k] - levels[:, k] * step) / row[k]
        left[:, k + 1 :] -= torch.outer(error, row[k + 1 :])
    return levels[:, columns.order.argsort()]


def _descend(
    levels: Tensor,
    weight: Tensor,
    hessian: Tensor,
    step: Tensor,
    importance: Tensor,
    prices: _Prices,
) -> None:
    """Give each column of ``levels`` (out, K), in turn, what is cheapest beside the others."""
    slope = (weight - levels * step[:, None]) @ hessian  # (out, K), without the importance
    for k, row in enumerate(hessian):
        before = levels[:, k].clone()
        exact = before + slope[:, k] / (row[k] * step)
        levels[:, k] = _cheapest(exact, importance * row[k] * step**2, prices)
        slope -= torch.outer((levels[:, k] - before) * step, row)


def _cheapest(exact: Tensor, curvature: Tensor, prices: _Prices) -> Tensor:
    """Return the levels (out,) of least curvature / 2 * (exact - level)^2 and price."""
    near, towards = exact.round(), exact.sign()
    choices = torch.stack((near, near - towards, near + towards, torch.zeros_like(near)))
    choices.clamp_(-REACH, REACH)
    best = (curvature / 2 * (exact - choices) ** 2 + prices(choices)).argmin(0, keepdim=True)
    return choices.gather(0, best)[0]
