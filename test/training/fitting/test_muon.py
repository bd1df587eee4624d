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
"""Muon: directions are orthogonal, weights keep their length, the others are plain SGD."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training.fitting.muon import Muon, orthogonal  # noqa: E402


@pytest.mark.parametrize('shape', [(8, 32), (32, 8), (1, 9), (9, 1), (16, 16)])
def test_singular_values_come_near_to_one(shape: tuple[int, int]) -> None:
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    uneven = left @ torch.diag(torch.linspace(0.1, 1, min(shape))) @ right
    found = orthogonal(uneven)
    values = torch.linalg.svdvals(found)
    assert 0.4 < values.min() <= values.max() < 1.4
    assert (
        torch.nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), 0) > 0.9
    )


def test_no_gradient_at_all_moves_nothing() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 3, 1, 1))
    before = weight.detach().clone()
    optimizer = Muon([weight], [], lr=0.1, others_lr=0.1)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before)


def test_a_step_turns_by_the_rate_and_keeps_the_length() -> None:
    weight = torch.nn.Parameter(torch.randn(6, 4, 3, 3))
    before = weight.detach().clone()
    optimizer = Muon([weight], [], lr=0.1, others_lr=0.1)
    weight.grad = torch.randn_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.norm(), before.norm())
    moved = (weight.detach() - before).norm() / before.norm()
    assert 0.07 < moved < 0.13


def test_the_others_take_the_steps_of_sgd() -> None:
    bias = torch.nn.Parameter(torch.randn(5))
    twin = copy.deepcopy(bias)
    ours = Muon([], [bias], lr=1.0, others_lr=0.1, others_momentum=0.9)
    theirs = torch.optim.SGD([twin], lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(5):
        bias.grad = torch.randn(5)
        twin.grad = bias.grad.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(bias, twin)


def test_it_learns_what_a_scaled_network_can() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(16, 32, bias=False), torch.nn.BatchNorm1d(32), torch.nn.Linear(32, 4)
    )
    teacher = torch.nn.Linear(16, 4)
    weights = [net[0].weight]
    others = [p for p in net.parameters() if p is not net[0].weight]
    optimizer = Muon(weights, others, lr=0.1, others_lr=0.1)
    x = torch.randn(256, 16)
    wanted = teacher(x).detach().argmax(1)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), wanted).backward()
        optimizer.step()
    assert (net(x).argmax(1) == wanted).float().mean() > 0.95
