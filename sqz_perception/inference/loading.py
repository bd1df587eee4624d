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
A model file -> a model that is verified, compiled, self-tested and warm.

All that takes time or can fail happens here, away from the frames.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed, LoadCancelled
from sqz_perception.inference.backend import Backend, Runtime, candidates
from sqz_perception.inference.checks import checked_logits
from sqz_perception.inference.choosing import prepare
from sqz_perception.model import file
from sqz_perception.model.network import InputSpec, Model


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
        scores = softmax(checked_logits(self.backend, picture, len(self.labels)))
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

    def proceed() -> None:
        if cancelled():
            raise LoadCancelled(f'{os.fspath(path)}: loading was cancelled')

    proceed()
    try:
        model, identity = file.read_identified(path)
        ready = prepare(model, runtime or Runtime(), proceed)
    except MemoryError as error:
        raise BackendFailed(
            f'{os.fspath(path)}: not enough memory to load it; free some or use a smaller model'
        ) from error
    return LoadedModel(
        name=model.name,
        release=model.release,
        identity=identity,
        input=model.input,
        labels=model.labels,
        path=os.fspath(path),
        backend=ready.backend,
        why=ready.why,
        milliseconds=ready.milliseconds,
    )


def build(model: Model, runtime: Runtime) -> Backend:
    """
    Return ``model`` compiled as ``runtime`` says, neither tested nor timed.

    Raises a BackendError, or ModelFloatOnly where int8 was asked for and the model has none.
    """
    found, refused = candidates(runtime, model)
    if not found:
        raise refused[0]
    return found[0].build(model, runtime.threads)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities (classes,) of ``logits`` (classes,)."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()
