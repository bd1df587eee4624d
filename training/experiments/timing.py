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
How long networks take on this machine: to answer, and to learn.

They take turns: a machine that other work slows for a while slows all of them alike, and what is
compared are their medians over all rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from sqz_perception.inference import backend
from training.fitting.learner import Learner
from training.fitting.precision import autocast

FORWARD_ROUNDS, FORWARDS = 20, 10  # calls of a network in each round
STEP_ROUNDS, STEPS = 5, 2
WARM = 2  # calls in each round that do not count
PICTURES = 128  # of a step, as in recipes/experiments.yaml
THREADS = 2  # of OpenVINO

Call = Callable[[], object]


def forward_ms(learners: Sequence[Learner]) -> list[float]:
    """Return each network's median time for one picture in OpenVINO, fp32, two threads."""
    calls = [_forward(learner) for learner in learners]
    return [1e3 * t for t in in_turns(calls, FORWARD_ROUNDS, FORWARDS, 'answering')]


def step_ms(learners: Sequence[Learner]) -> list[float]:
    """
    Return the median time of a training step in PyTorch, for each of its pictures.

    In bf16 where the processor has it, as training.train.
    """
    calls = [_step(learner) for learner in learners]
    return [1e3 * t / PICTURES for t in in_turns(calls, STEP_ROUNDS, STEPS, 'learning')]


def in_turns(calls: Sequence[Call], rounds: int, times: int, title: str) -> list[float]:
    """Return the median seconds of each call, which is made so many times in each round."""
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in tqdm(range(rounds), title, unit=' rounds'):
        for call, found in zip(calls, seconds, strict=True):
            found += [_seconds(call) for _ in range(WARM + times)][WARM:]
    return [median(found) for found in seconds]


def _forward(learner: Learner) -> Call:
    backend.library('openvino')  # raises BackendUnavailable where it is missing
    from openvino import convert_model  # only now: the runtime's module keeps it from reporting

    from sqz_perception.inference import openvino as runtime

    size = learner.description.size
    picture = torch.zeros(1, 3, size, size)
    graph = convert_model(torch.export.export(learner.net.eval(), (picture,)))
    return partial(runtime.compiled(graph, 'fp32', THREADS).logits, picture[0].numpy())


def _step(learner: Learner) -> Call:
    size, classes = learner.description.size, len(learner.description.labels)
    images = torch.randint(256, (PICTURES, size, size, 3), dtype=torch.uint8)
    targets = torch.randint(classes, (PICTURES,))
    optimizer = torch.optim.SGD(learner.parameters(), 1e-3, momentum=0.9, fused=True)
    arithmetic = autocast(learner)
    learner.train()

    def step() -> None:
        with arithmetic:
            logits = learner(images)
        cross_entropy(logits, targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _seconds(call: Call) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
