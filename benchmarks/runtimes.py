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
"""Inference alone: each runtime and number of threads on the same SqueezeNet v1.0, in turns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torchvision

from benchmarks import turns
from benchmarks.report import Row, summarise
from benchmarks.setting import Setting, say
from benchmarks.turns import Run
from sqz_perception.errors import BackendUnavailable
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import build, softmax
from sqz_perception.model import file
from sqz_perception.model.network import Model, self_test_picture

RUNTIMES = (('openvino', 'fp32'), ('openvino', 'bf16'), ('onnxruntime', 'fp32'))
THREADS = (1, 2)


def measure(setting: Setting) -> Iterator[Row]:
    """Return one row for each runtime and number of threads."""
    model = file.read(setting.large)
    runs = {**ours(model), **eager(setting)}
    for name, values in turns.take('runtimes', runs).items():
        yield summarise('runtime', name, 'ms', values)
    yield top_row(model)


def ours(model: Model) -> dict[str, Run]:
    """Return what to run for each of our runtimes that can be had."""
    picture = self_test_picture(0, model.input)
    runs: dict[str, Run] = {}
    for backend, precision in RUNTIMES:
        for threads in THREADS:
            try:
                ready = build(model, Runtime(backend, precision, threads))
            except BackendUnavailable as error:
                say(f'runtimes: {error}')
                continue
            name = f'{backend} {precision}, threads {threads}'
            runs[name] = lambda ready=ready: ready.logits(picture)  # type: ignore[misc]
    return runs


def eager(setting: Setting) -> dict[str, Run]:
    """Return what to run for torch: the same weights, the picture prepared before."""
    net = torchvision.models.squeezenet1_0(weights=None).eval()
    net.load_state_dict(torch.load(setting.state, weights_only=True))
    picture = torch.rand(1, 3, 224, 224)

    def run(threads: int) -> None:
        torch.set_num_threads(threads)
        with torch.no_grad():
            net(picture)

    return {f'torch eager fp32, threads {n}': lambda n=n: run(n) for n in THREADS}  # type: ignore


def top_row(model: Model) -> Row:
    """Return what softmax and the choice of the best cost, which the node counts as inference."""
    logits = np.random.default_rng(0).normal(size=len(model.labels)).astype(np.float32)
    values = turns.timed(
        lambda: np.argsort(-softmax(logits), kind='stable')[:5].tolist(), 1000, 10
    )
    return summarise('runtime', f'softmax and top 5 of {len(model.labels)} classes', 'ms', values)
