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
Arithmetic in bf16 where the machine has it.

A processor that has not emulates it: a step of the shipped network then takes more than a minute
and not a second.
"""

from __future__ import annotations

from typing import Literal

import torch

from sqz_perception.inference.processor import CPUINFO

GPUS = ('auto', 'gpu', 'cuda')  # the trainer's accelerators that are a GPU where there is one


def bf16_pays(device: torch.device) -> bool:
    """Tell whether ``device`` has arithmetic of bf16; others only emulate it."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return '_bf16' in CPUINFO.read_text(encoding='utf-8')  # avx512_bf16, amx_bf16
    except OSError:
        return False


def autocast(device: torch.device) -> torch.autocast:
    """
    Return a context in which ``device`` takes bf16 where that is faster.

    It can be entered again and again; what the machine has is looked up once, here.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16_pays(device))


def of_trainer(accelerator: str) -> Literal['bf16-mixed', '32-true']:
    """Return the precision that a trainer is fastest with on its ``accelerator``."""
    gpu = accelerator in GPUS and torch.cuda.is_available()
    return 'bf16-mixed' if bf16_pays(torch.device('cuda' if gpu else 'cpu')) else '32-true'
