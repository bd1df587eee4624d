# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What a network costs: parameters, multiply-adds, bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

MEBI = 2**20


@dataclass(frozen=True)
class Cost:
    """Of one network at one size of its pictures."""

    parameters: int
    macs: int  # multiply-adds of convolutions and linear layers for one picture


def measure(net: nn.Module, size: int) -> Cost:
    """Run ``net`` on one empty picture (1, 3, size, size) and count; it stays as it is."""
    macs = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        places = prod(output.shape[2:])  # a linear layer has one
        macs += layer.weight.numel() * places

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    trained, device = net.training, next(net.parameters()).device
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, size, size, device=device))
    finally:
        net.train(trained)
        for hook in hooks:
            hook.remove()
    return Cost(sum(p.numel() for p in net.parameters()), macs)
