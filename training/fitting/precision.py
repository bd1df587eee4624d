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
The precision that trains a network fastest on this machine, measured: bf16 or fp32.

A processor's flag is not a speed: on some virtual machines bf16 takes twice as long as fp32.
"""

from __future__ import annotations

import copy
import sys
import time
from typing import TYPE_CHECKING, Literal

import torch

from sqz_perception.inference.processor import CPUINFO

if TYPE_CHECKING:
    from training.fitting.learner import Learner

GPUS = ('auto', 'gpu', 'cuda')  # the trainer's accelerators that are a GPU where there is one
PIXELS = {'cpu': 2**17, 'cuda': 2**23}  # of the images of one timed step
STEPS, SECONDS = 3, 1.0  # in each precision at least, and for both together
_measured: dict[tuple[str, str], torch.dtype] = {}
NAMES = {torch.bfloat16: 'bf16', torch.float32: 'fp32'}


def of_trainer(learner: Learner, accelerator: str) -> Literal['bf16-mixed', '32-true']:
    """Return the precision in which a trainer is fastest on its ``accelerator``."""
    gpu = accelerator in GPUS and torch.cuda.is_available()
    found = fastest(learner, torch.device('cuda' if gpu else 'cpu'))
    return 'bf16-mixed' if found == torch.bfloat16 else '32-true'


def autocast(learner: Learner) -> torch.autocast:
    """Return a context in which ``learner`` computes in the precision that trains it fastest."""
    dtype = fastest(learner, learner.device)
    return torch.autocast(learner.device.type, dtype, enabled=dtype != torch.float32)


def fastest(learner: Learner, device: torch.device) -> torch.dtype:
    """
    Return the precision in which a training step of ``learner`` takes the least time.

    The network and the random state stay as they are. Each description is measured once.
    """
    if not has_bf16(device):
        return torch.float32
    key = repr(learner.description), str(device)
    if key not in _measured:
        seconds = step_seconds(learner, device)
        _measured[key] = min(seconds, key=lambda dtype: seconds[dtype])
        figures = ', '.join(f'{NAMES[dtype]} {1e3 * s:.3g} ms' for dtype, s in seconds.items())
        print(f'precision: {NAMES[_measured[key]]}; a step takes {figures}', file=sys.stderr)
    return _measured[key]


def step_seconds(learner: Learner, device: torch.device) -> dict[torch.dtype, float]:
    """Return the best time of a few steps, forward and back, in each precision."""
    net = copy.deepcopy(learner.net).to(device).train()
    size = learner.description.size
    count = max(1, PIXELS[device.type] // size**2)
    images = torch.linspace(-1, 1, count * 3 * size**2, device=device).view(count, 3, size, size)
    images = images.to(memory_format=torch.channels_last)

    def step(dtype: torch.dtype) -> float:
        begun = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            loss = net(images).float().square().mean()
        loss.backward()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    with torch.enable_grad(), torch.random.fork_rng(device_type='cuda'):  # of dropout
        rounds = [{dtype: step(dtype) for dtype in NAMES}]  # the first does not count
        end = time.perf_counter() + SECONDS
        while len(rounds) <= STEPS or time.perf_counter() < end:
            rounds.append({dtype: step(dtype) for dtype in NAMES})
    return {dtype: min(found[dtype] for found in rounds[1:]) for dtype in NAMES}


def has_bf16(device: torch.device) -> bool:
    """Return whether ``device`` claims to compute in bf16; others take minutes to emulate it."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        return '_bf16' in CPUINFO.read_text(encoding='utf-8')  # avx512_bf16, amx_bf16
    except OSError:
        return False
