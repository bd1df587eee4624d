# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How long a network takes on this machine: to answer, and to learn."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn.functional import cross_entropy

from training.learner import Learner

FORWARDS, STEPS = 200, 7
WARM = 2  # of either, that do not count
PICTURES = 128  # of a step, as in recipes/experiments.yaml
THREADS = 2  # of OpenVINO


def forward_ms(learner: Learner) -> float:
    """Return the median time of its network for one picture in OpenVINO, fp32, two threads."""
    import openvino as ov

    size = learner.description['size']
    picture = torch.zeros(1, 3, size, size)
    model = ov.convert_model(learner.net.eval(), example_input=picture)
    settings = {'INFERENCE_NUM_THREADS': THREADS, 'INFERENCE_PRECISION_HINT': 'f32'}
    request = ov.Core().compile_model(model, 'CPU', settings).create_infer_request()
    return 1e3 * _median_seconds(lambda: request.infer([picture.numpy()]), FORWARDS)


def step_ms(learner: Learner) -> float:
    """Return the median time of a training step in PyTorch, bf16, for each of its pictures."""
    size, classes = learner.description['size'], len(learner.description['labels'])
    images = torch.randint(256, (PICTURES, size, size, 3), dtype=torch.uint8)
    targets = torch.randint(classes, (PICTURES,))
    optimizer = torch.optim.SGD(learner.parameters(), 1e-3, momentum=0.9, fused=True)
    learner.train()

    def step() -> None:
        with torch.autocast('cpu', torch.bfloat16):
            logits = learner(images)
        cross_entropy(logits, targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return 1e3 * _median_seconds(step, STEPS) / PICTURES


def _median_seconds(call: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(WARM + count):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return median(times[WARM:])
