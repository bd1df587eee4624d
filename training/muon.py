# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Muon: momentum whose direction is made orthogonal, for the convolutions of networks with norms.

A plain gradient moves a weight mostly along its few largest singular directions; the nearest
orthogonal matrix moves along all of them alike. Short runs gain most (docs/adr/0007-training.md).

Source: Jordan et al., Muon: an optimizer for hidden layers, 2024 (kellerjordan.github.io/posts/
muon); the polynomial's coefficients are from there. torch.optim.Muon takes matrices only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training import cuda_graph

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5: singular values tend to 0.7 .. 1.2
ITERATIONS = 3
TINY = 1e-7


class Muon(torch.optim.Optimizer):
    """
    Steps of a given length in an orthogonal direction; the weights keep their first length.

    Only for weights (out, ...) whose scale a norm takes out again, since that scale is not
    learned: what is left to the rate is the angle that a step turns them by. All other parameters
    are trained beside them, by SGD with Nesterov's momentum.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float,
        others_lr: float,
        momentum: float = 0.6,
        others_momentum: float = 0.9,
    ) -> None:
        """
        Prepare to train all of ``weights`` and ``others``.

        :param weights: Each (out, ...), with a norm behind it.
        :param others: Norms, biases and what no norm follows.
        :param lr: Length of a step of ``weights``, in parts of the weight's own length.
        :param others_lr: Of SGD.
        :param momentum: Of ``weights``.
        :param others_momentum: Of SGD.
        """
        groups = [
            {
                'name': 'convolutions',
                'params': list(weights),
                'lr': lr,
                'momentum': momentum,
                'move': 'orthogonal',
            },
            {
                'name': 'others',
                'params': list(others),
                'lr': others_lr,
                'momentum': others_momentum,
                'move': 'sgd',
            },
        ]
        super().__init__([group for group in groups if group['params']], {})
        self.rates: list[Tensor] = []  # of the groups, where the weights are
        self.known: list[int] = []  # the parameters that were moved last
        self.gradients: list[Tensor] = []  # theirs, where the recording reads them
        self.replay: Callable[[], None] | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move each parameter once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        trained = [p for group in self.param_groups for p in _trained(group)]
        if not trained:
            return loss
        if not self.rates:
            self.rates = [trained[0].new_zeros(()) for _ in self.param_groups]
        for rate, group in zip(self.rates, self.param_groups, strict=True):
            rate.fill_(group['lr'])
        alone = not torch.distributed.is_initialized()  # nccl's own thread may not be recorded
        if trained[0].is_cuda and alone:
            self._repeat(trained)
        else:
            self._move()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``; what was recorded moved other momenta."""
        super().load_state_dict(state_dict)
        self.known = []

    def _repeat(self, trained: list[nn.Parameter]) -> None:
        """Record the second step and replay it from then on: its hundreds of parts are small."""
        known = [id(parameter) for parameter in trained]
        if known != self.known:  # a first step makes what the others find
            self.known, self.replay = known, None
            self._move()
            return
        gradients = [parameter.grad for parameter in trained]
        if self.replay is None:
            self.gradients = [gradient.clone() for gradient in gradients]
            for parameter, gradient in zip(trained, self.gradients, strict=True):
                parameter.grad = gradient
            self.replay = cuda_graph.capture(self._move)
        else:
            torch._foreach_copy_(self.gradients, gradients)
        self.replay()

    def _move(self) -> None:
        """Move each parameter that has a gradient."""
        for group, rate in zip(self.param_groups, self.rates, strict=True):
            trained = _trained(group)
            if not trained:
                continue
            directions = self._gathered(trained, group['momentum'])
            if group['move'] == 'sgd':
                torch._foreach_sub_(trained, torch._foreach_mul(directions, rate))
                continue
            for which in at_once(trained):
                self._turn([trained[i] for i in which], [directions[i] for i in which], rate)

    def _gathered(self, parameters: list[nn.Parameter], momentum: float) -> Sequence[Tensor]:
        """Return the gradients with Nesterov's momentum."""
        for parameter in parameters:
            if 'momentum' not in self.state[parameter]:
                self.state[parameter]['momentum'] = torch.zeros_like(parameter)
        gathered = [self.state[parameter]['momentum'] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        torch._foreach_mul_(gathered, momentum)
        torch._foreach_add_(gathered, gradients)
        return torch._foreach_add(gradients, gathered, alpha=momentum)

    def _turn(
        self, weights: Sequence[nn.Parameter], directions: Sequence[Tensor], rate: Tensor
    ) -> None:
        """Move weights, all at once."""
        for weight in weights:
            if 'length' not in self.state[weight]:
                self.state[weight]['length'] = weight.norm()
        lengths = [self.state[weight]['length'] for weight in weights]
        # An orthogonal matrix of rank r is sqrt(r) long.
        roots = [min(len(weight), weight[0].numel()) ** 0.5 for weight in weights]
        reaches = torch.stack(torch._foreach_div(lengths, roots))[:, None, None] * rate
        length = torch.stack(lengths)[:, None, None]
        new = stacked(weights) - orthogonal(stacked(directions)) * reaches  # (K, m, n)
        new *= length / new.norm(dim=(1, 2), keepdim=True).clamp(min=TINY)
        for weight, values in zip(weights, new, strict=True):
            own = weight.movedim(1, -1)
            own.copy_(values[: len(own), : own[0].numel()].view(own.shape))


def at_once(weights: Sequence[Tensor]) -> list[list[int]]:
    """
    Return the numbers of the weights that are turned together.

    On a GPU all, in the memory that they would take if all were as large as the largest: to start
    the parts of a step takes longer than to do them. A processor takes those of one shape, since
    it would have to work for the zeros around others.
    """
    if weights[0].is_cuda:
        return [list(range(len(weights)))]
    alike: dict[torch.Size, list[int]] = {}
    for i, weight in enumerate(weights):
        alike.setdefault(weight.shape, []).append(i)
    return list(alike.values())


def stacked(weights: Sequence[Tensor]) -> Tensor:
    """Return K weights as matrices (K, m, n), with zeros below and beside the smaller ones."""
    matrices = [_matrix(weight) for weight in weights]
    rows, columns = (max(sizes) for sizes in zip(*(m.shape for m in matrices), strict=True))
    if all(matrix.shape == (rows, columns) for matrix in matrices):
        return torch.stack(matrices)
    padded = matrices[0].new_zeros(len(matrices), rows, columns)
    for whole, matrix in zip(padded, matrices, strict=True):
        whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded


def _matrix(weight: Tensor) -> Tensor:
    """Return a weight (out, in, ...) as (out, the rest): in memory's order where channels last."""
    return weight.movedim(1, -1).flatten(1)


def _trained(group: dict[str, Any]) -> list[nn.Parameter]:
    return [parameter for parameter in group['params'] if parameter.grad is not None]


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the closest (..., m, n) whose rows, or columns if fewer, are orthonormal."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + TINY)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(ITERATIONS):
        square = x @ x.mT  # (..., m, m), the smaller side
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
