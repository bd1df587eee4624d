# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A model file -> a model that is verified, compiled, self-tested and warm.

All that takes time or can fail happens here, away from the frames.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import LoadCancelled, SelfTestFailed
from sqz_perception.inference.backend import Backend, Runtime, choose
from sqz_perception.model import file
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import InputSpec, Model, self_test_picture

WARM_UP_RUNS = 3
# How far a runtime's logits may be from the file's, root mean square, in parts of theirs. Right
# runtimes were seen to differ by at most 1e-5 in fp32, 0.009 in bf16 and 0.016 in int8 (0.03 where
# all values are signed); a runtime that dropped the ReLUs by 0.14 to 0.97, one that exchanged the
# filters of one layer by 0.18 to 1.3. The largest of the differences, which is mostly noise, tells
# them apart less well.
SELF_TEST_TOLERANCE = {'fp32': 0.01, 'bf16': 0.05, 'int8': 0.1}


@dataclass(frozen=True)
class Result:
    """One class of a picture. ``score`` is its probability, from 0 to 1."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class LoadedModel:
    """A model that has passed its self-test on this machine and is warm."""

    name: str
    release: int
    identity: str
    input: InputSpec
    labels: tuple[str, ...]
    path: str
    backend: Backend
    why: str  # this backend and no other
    milliseconds: float  # of one picture in the warm-up, the median

    def __str__(self) -> str:
        return f'{self.name} release {self.release} ({self.identity[:12]})'

    def classify(
        self, picture: NDArray[np.uint8], top_k: int = 5, threshold: float = 0.0
    ) -> list[Result]:
        """
        Return the ``top_k`` best classes of ``picture`` with at least ``threshold``, best first.

        ``picture`` is uint8 (input.height, input.width, 3) in BGR. Raises BackendFailed.
        """
        scores = softmax(self.backend.logits(picture))
        best = np.argsort(-scores, kind='stable')[:top_k]
        return [
            Result(int(i), self.labels[i], float(scores[i]))
            for i in best
            if scores[i] >= threshold
        ]


def load(
    path: str | os.PathLike[str],
    runtime: Runtime | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> LoadedModel:
    """
    Return the model at ``path``, verified, compiled, self-tested and warm.

    ``cancelled`` is asked between the stages; where it returns true, LoadCancelled is raised.
    Raises a ModelError for the file and a BackendError for the runtime.
    """
    runtime = runtime or Runtime()

    def proceed() -> None:
        if cancelled():
            raise LoadCancelled(f'{os.fspath(path)}: loading was cancelled')

    proceed()
    model = file.read(path)
    proceed()
    backend, why = build(model, runtime)
    proceed()
    self_test(model, backend)
    proceed()
    milliseconds = warm_up(model, backend)
    proceed()
    return LoadedModel(
        name=model.name,
        release=model.release,
        identity=file.identity(model),
        input=model.input,
        labels=model.labels,
        path=os.fspath(path),
        backend=backend,
        why=why,
        milliseconds=milliseconds,
    )


def build(model: Model, runtime: Runtime) -> tuple[Backend, str]:
    """
    Return ``model`` compiled, and why on this runtime and in this precision.

    Raises a BackendError, or ModelFloatOnly where int8 was asked for and the model has none.
    """
    choice = choose(runtime, model)
    graph = to_onnx(model, int8=choice.precision == 'int8')
    return choice.build(graph, runtime.threads), choice.why


def self_test(model: Model, backend: Backend) -> float:
    """
    Ask ``backend`` the model's own questions; return how far its answers are off.

    That is the root mean square of the differences of all logits, in parts of the expected ones'.
    Raises SelfTestFailed where it exceeds the tolerance of the backend's precision.
    """
    test = model.self_test
    if not test.seeds:
        return 0.0
    answers = [
        backend.logits(self_test_picture(seed, model.input))[list(classes)]
        for seed, classes in zip(test.seeds, test.classes, strict=True)
    ]
    expected = np.concatenate(test.int8 if backend.precision == 'int8' else test.logits)
    scale = max(float(np.linalg.norm(expected)), 1e-6)
    deviation = float(np.linalg.norm(np.concatenate(answers) - expected)) / scale
    tolerance = SELF_TEST_TOLERANCE[backend.precision]
    if not deviation <= tolerance:  # NaN fails too
        raise SelfTestFailed(
            f'{backend.description}: the self-test of {model.name} is off by {deviation:.3g} of '
            f'its logits, {tolerance} is allowed; try another backend or precision'
        )
    return deviation


def warm_up(model: Model, backend: Backend) -> float:
    """Run ``backend`` on a few pictures; return the median time of one in milliseconds."""
    picture = self_test_picture(0, model.input)
    times = []
    for _ in range(WARM_UP_RUNS):
        start = time.perf_counter()
        backend.logits(picture)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities (classes,) of ``logits`` (classes,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
