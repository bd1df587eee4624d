# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A picture -> its classes, by a model that can be exchanged between two pictures.

``load`` does all that takes time or can fail (read, verify, compile, self-test, warm up) away from
the frames; ``Classifier.swap`` is one assignment.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import SelfTestFailed, SwapRefused
from sqz_perception.inference.backend import Backend, Runtime, choose
from sqz_perception.model import file
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import InputSpec, Model, self_test_picture

WARM_UP_RUNS = 3
# How far a runtime's logits may be from the file's, in parts of that answer's largest logit.
SELF_TEST_TOLERANCE = {'fp32': 0.01, 'bf16': 0.1}


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


class Classifier:
    """The model in use and the one before. Any thread may swap; a frame asks ``current`` once."""

    def __init__(self, model: LoadedModel) -> None:
        self._lock = threading.Lock()
        self._previous: LoadedModel | None = None
        self.current = model
        self.swaps = 0

    def swap(self, model: LoadedModel) -> None:
        """Make ``model`` the current one; the one it replaces stays ready for ``rollback``."""
        with self._lock:
            self._previous, self.current = self.current, model
            self.swaps += 1

    def rollback(self) -> LoadedModel:
        """Exchange the current model and the one before; return the latter. Raises SwapRefused."""
        with self._lock:
            if self._previous is None:
                raise SwapRefused('no model was in use before this one')
            self._previous, self.current = self.current, self._previous
            self.swaps += 1
            return self.current


def load(path: str | os.PathLike[str], runtime: Runtime | None = None) -> LoadedModel:
    """
    Return the model at ``path``, verified, compiled, tested and warm.

    Raises a ModelError for the file and a BackendError for the runtime.
    """
    runtime = runtime or Runtime()
    model = file.read(path)
    backend, why = build(model, runtime)
    self_test(model, backend)
    picture = self_test_picture(0, model.input)
    for _ in range(WARM_UP_RUNS):
        backend.logits(picture)
    return LoadedModel(
        name=model.name,
        release=model.release,
        identity=file.identity(model),
        input=model.input,
        labels=model.labels,
        path=os.fspath(path),
        backend=backend,
        why=why,
    )


def build(model: Model, runtime: Runtime) -> tuple[Backend, str]:
    """Return ``model`` compiled, and why on this runtime. Raises a BackendError."""
    choice = choose(runtime.backend)
    return choice.build(to_onnx(model), runtime), choice.why


def self_test(model: Model, backend: Backend) -> float:
    """
    Ask ``backend`` the model's own questions; return the largest deviation found.

    The deviation is a difference of logits, in parts of the answer's largest expected logit.
    Raises SelfTestFailed where it exceeds the tolerance of the backend's precision.
    """
    tolerance = SELF_TEST_TOLERANCE[backend.precision]
    deviations = [0.0]
    test = model.self_test
    for seed, classes, expected in zip(test.seeds, test.classes, test.logits, strict=True):
        logits = backend.logits(self_test_picture(seed, model.input))[list(classes)]
        scale = max(np.abs(expected).max(), 1e-6)
        deviations.append(np.abs(logits - np.array(expected, np.float32)).max() / scale)
    worst = float(np.max(deviations))
    if not worst <= tolerance:  # NaN fails too
        raise SelfTestFailed(
            f'{backend.description}: the self-test of {model.name} is off by {worst:.3g} of its '
            f'largest logit, {tolerance} is allowed; try another backend or precision'
        )
    return worst


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities (classes,) of ``logits`` (classes,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
