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
"""What a network costs: parameters, multiply-adds, bytes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

MEBI = 2**20


@dataclass(frozen=True)
class Cost:
    """Of one network at one size of its pictures."""

    parameters: int
    macs: int  # multiply-adds of convolutions and linear layers for one picture


def measure(net: nn.Module, size: int) -> Cost:
    """Count the operations of ``net`` on one image (1, 3, size, size); it stays as it is."""
    shapes = deepcopy(net).to('meta').eval()  # nothing is computed
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shapes(torch.zeros(1, 3, size, size, device='meta'))
    return Cost(sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2)
