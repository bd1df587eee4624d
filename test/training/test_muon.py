# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Muon: directions are orthogonal, weights keep their length, the others are plain SGD."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training import cuda_graph, muon  # noqa: E402
from training.muon import Muon, orthogonal  # noqa: E402


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


def test_weights_of_one_shape_move_as_each_would_alone() -> None:
    """They are turned at once; a large one must not lend the others its length."""
    torch.manual_seed(0)
    together = [torch.nn.Parameter(scale * torch.randn(6, 4, 3, 3)) for scale in (1, 50, 0.1)]
    alone = copy.deepcopy(together)
    optimizers = [Muon(together, [], lr=0.1, others_lr=0.1)]
    optimizers += [Muon([weight], [], lr=0.1, others_lr=0.1) for weight in alone]
    for _ in range(3):
        for one, other in zip(together, alone, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(together, alone)


def test_weights_of_all_shapes_move_at_once_as_each_would_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, with zeros around the smaller; memory's order of a weight does not matter."""
    torch.manual_seed(0)
    shapes = [(6, 4, 3, 3), (24, 3, 3, 3), (4, 6, 1, 1), (32, 5), (1, 9, 1, 1)]
    together = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    alone = copy.deepcopy(together)
    together[1].data = together[1].data.to(memory_format=torch.channels_last)
    optimizer = Muon(together, [], lr=0.1, others_lr=0.1)
    optimizers = [Muon([weight], [], lr=0.1, others_lr=0.1) for weight in alone]
    for _ in range(3):
        for one, other in zip(together, alone, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        with monkeypatch.context() as gpu:
            gpu.setattr(muon, 'at_once', lambda weights: [list(range(len(weights)))])
            optimizer.step()
        for other in optimizers:
            other.step()
    torch.testing.assert_close(together, alone)


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


def test_on_a_gpu_steps_are_replayed_with_new_gradients_and_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A make-believe recording runs its work again, but knows no number of the processor's."""
    weights = [torch.nn.Parameter(torch.randn(6, 4, 3, 3)) for _ in range(2)]
    bias = torch.nn.Parameter(torch.randn(5))
    twins = copy.deepcopy([*weights, bias])
    ours = Muon(weights, [bias], lr=0.1, others_lr=0.2)
    plain = Muon(twins[:2], twins[2:], lr=0.1, others_lr=0.2)
    replays = []

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        def replay() -> None:
            known = [group.pop('lr') for group in ours.param_groups]
            work()
            for group, rate in zip(ours.param_groups, known, strict=True):
                group['lr'] = rate
            replays.append(work)

        return replay

    monkeypatch.setattr(cuda_graph, 'capture', capture)
    for step in range(7):
        for group in (*ours.param_groups, *plain.param_groups):
            group['lr'] *= 0.7
        for one, twin in zip([*weights, bias], twins, strict=True):
            one.grad = torch.randn_like(one)
            twin.grad = one.grad.clone()
        if step == 4:  # as after a checkpoint
            ours.load_state_dict(ours.state_dict())
        with monkeypatch.context() as gpu:
            gpu.setattr(torch.nn.Parameter, 'is_cuda', True, raising=False)
            ours.step()
        plain.step()
        torch.testing.assert_close([*weights, bias], twins, rtol=0, atol=0)
    assert len(replays) == 5


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
