# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Inference alone: each runtime and number of threads on the same SqueezeNet v1.0, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torchvision

from benchmarks.report import Row, summarise
from benchmarks.setting import Setting, say
from sqz_perception.errors import BackendUnavailable
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import build, softmax
from sqz_perception.model import file
from sqz_perception.model.network import Model, self_test_picture

RUNTIMES = (('openvino', 'fp32'), ('openvino', 'bf16'), ('onnxruntime', 'fp32'))
THREADS = (1, 2)
TURNS = 10
RUNS = 20  # in each turn, after WARM_UP
WARM_UP = 3
PAUSE = 0.05  # seconds between turns: the threads of the one before go to sleep

Run = Callable[[], object]


def measure(setting: Setting) -> Iterator[Row]:
    """Return one row for each runtime and number of threads."""
    model = file.read(setting.large)
    runs = {**ours(model), **eager(setting)}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS):
        say(f'runtimes: turn {turn + 1} of {TURNS}')
        for name, run in runs.items():
            found[name] += timed(run, RUNS, WARM_UP)
            time.sleep(PAUSE)
    for name, values in found.items():
        yield summarise('runtime', name, 'ms', values)
    yield top_row(model)


def ours(model: Model) -> dict[str, Run]:
    """Return what to run for each of our runtimes that can be had."""
    picture = self_test_picture(0, model.input)
    runs: dict[str, Run] = {}
    for backend, precision in RUNTIMES:
        for threads in THREADS:
            try:
                ready, _ = build(model, Runtime(backend, precision, threads))
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
    values = timed(lambda: np.argsort(-softmax(logits), kind='stable')[:5].tolist(), 1000, 10)
    return summarise('runtime', f'softmax and top 5 of {len(model.labels)} classes', 'ms', values)


def timed(run: Run, times: int, warm_up: int = 0) -> list[float]:
    """Return how many milliseconds each of ``times`` runs took."""
    values = []
    for number in range(warm_up + times):
        begun = time.perf_counter()
        run()
        if number >= warm_up:
            values.append((time.perf_counter() - begun) * 1e3)
    return values
