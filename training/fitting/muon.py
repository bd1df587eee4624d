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
Muon: momentum whose direction is made orthogonal, for the convolutions of networks with norms.

A plain gradient moves a weight mostly along its few largest singular directions; the nearest
orthogonal matrix moves along all of them alike. Source: Jordan et al., Muon: an optimizer for
hidden layers, 2024 (kellerjordan.github.io/posts/muon), with its coefficients. torch.optim.Muon
takes matrices only, and no other parameters beside them.
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
    Orthogonal steps for ``weights``, which keep their first length; SGD for the ``others``.

    The weights (out, ...) have a norm behind them, so their scale has no effect; the learning rate
    is the angle of a step. SGD has Nesterov's momentum.
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
        """Prepare to train all of ``weights`` and ``others``."""
        turned = {'name': 'convolutions', 'params': [*weights], 'lr': lr, 'momentum': momentum}
        rest = {'params': [*others], 'lr': others_lr, 'momentum': others_momentum}
        groups = [turned, {'name': 'others', **rest}]
        super().__init__([group for group in groups if group['params']], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move each parameter that has a gradient."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group['params']:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state['momentum'] = torch.zeros_like(parameter)
            state['length'] = parameter.norm()
        gathered = state['momentum'].mul_(group['momentum']).add_(parameter.grad)
        direction = parameter.grad.add(gathered, alpha=group['momentum'])
        if group['name'] == 'others':
            parameter.sub_(direction, alpha=group['lr'])
            return
        matrix = orthogonal(direction.flatten(1))
        reach = group['lr'] * state['length'] / min(matrix.shape) ** 0.5  # it is sqrt(rank) long
        parameter.sub_(reach * matrix.view(parameter.shape))
        parameter.mul_(state['length'] / parameter.norm().clamp(min=TINY))


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the closest (m, n) whose rows, or columns if fewer, are orthonormal."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + TINY)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(ITERATIONS):
        square = x @ x.mT  # (m, m), the smaller side
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
