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

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

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

        Args:
            weights: Each (out, ...), with a norm behind it.
            others: Norms, biases and what no norm follows.
            lr: Length of a step of ``weights``, in parts of the weight's own length.
            others_lr: Of SGD.
            momentum: Of ``weights``.
            others_momentum: Of SGD.

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

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move each parameter once."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is None:
                    continue
                direction = self._gathered(parameter, group['momentum'])
                if group['move'] == 'sgd':
                    parameter.sub_(direction, alpha=group['lr'])
                else:
                    self._turn(parameter, direction, group['lr'])
        return loss

    def _gathered(self, parameter: Tensor, momentum: float) -> Tensor:
        """Return the gradient with Nesterov's momentum."""
        state = self.state[parameter]
        if 'momentum' not in state:
            state['momentum'] = torch.zeros_like(parameter)
        gathered = state['momentum'].mul_(momentum).add_(parameter.grad)
        return parameter.grad.add(gathered, alpha=momentum)

    def _turn(self, weight: Tensor, direction: Tensor, rate: float) -> None:
        state = self.state[weight]
        if 'length' not in state:
            state['length'] = weight.norm()
        direction = orthogonal(direction.flatten(1)).view_as(weight)
        # An orthogonal matrix of rank r is sqrt(r) long.
        rank = min(len(weight), weight[0].numel())
        weight.sub_(direction * (rate / rank**0.5 * state['length']))
        weight.mul_(state['length'] / weight.norm().clamp(min=TINY))


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the closest matrix (m, n) whose rows, or columns if fewer, are orthonormal."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + TINY)
    tall = len(x) > x.shape[1]
    x = x.T if tall else x
    for _ in range(ITERATIONS):
        square = x @ x.T  # (m, m), the smaller side
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
