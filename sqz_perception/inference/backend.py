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
The protocol of every inference runtime, and which of them can run a model.

Each runtime is a module of this package that fulfils ``Library``. There is no silent fallback: a
runtime or a precision that was asked for by name and cannot run is an error.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import BackendUnavailable, SqzError
from sqz_perception.model.network import Model

BACKENDS = ('openvino', 'onnxruntime')  # each is a module of this package
PRECISIONS = ('auto', 'int8', 'bf16', 'fp32')


class Backend(Protocol):
    """A model, ready to run. Used by one thread at a time."""

    precision: str  # of the arithmetic: 'int8', 'bf16' or 'fp32'
    description: str  # runtime, version, device, precision, threads: for people

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """
        Return the logits, (classes,), of ``picture``, uint8 (height, width, 3) in BGR.

        Raises BackendFailed.
        """

    def close(self) -> None:
        """Release the memory of the runtime; ``logits`` must not be called again."""


class Library(Protocol):
    """A module that runs models."""

    PRECISIONS: tuple[str, ...]  # that it may run; the processor and the model decide

    def check(self, model: Model, precision: str) -> None:
        """Raise BackendUnavailable or ModelFloatOnly where it cannot run ``model`` here."""

    def build(self, model: Model, precision: str, threads: int) -> Backend:
        """Return ``model`` compiled. Raises BackendFailed."""


@dataclass(frozen=True)
class Runtime:
    """Which runtime to use, and how. ``threads`` 0 leaves their number to the runtime."""

    backend: str = 'auto'  # 'auto' or one of BACKENDS
    precision: str = 'auto'  # one of PRECISIONS
    threads: int = 2


@dataclass(frozen=True)
class Candidate:
    """A runtime and a precision that can run a model here."""

    backend: str
    precision: str

    def __str__(self) -> str:
        return f'{self.backend} {self.precision}'

    def is_one_of(self, runtime: Runtime) -> bool:
        """Return whether ``runtime`` allows it."""
        return runtime.backend in ('auto', self.backend) and (
            runtime.precision in ('auto', self.precision)
        )

    def check(self, model: Model) -> None:
        """Raise BackendUnavailable or ModelFloatOnly where it cannot run ``model``."""
        library(self.backend).check(model, self.precision)

    def build(self, model: Model, threads: int) -> Backend:
        """Return ``model`` compiled. Raises a BackendError."""
        return library(self.backend).build(model, self.precision, threads)


def candidates(runtime: Runtime, model: Model) -> tuple[list[Candidate], list[SqzError]]:
    """Return all that can run ``model`` as ``runtime`` asks, and why the others cannot."""
    found: list[Candidate] = []
    refused: list[SqzError] = []
    for name in BACKENDS if runtime.backend == 'auto' else (runtime.backend,):
        try:
            known = library(name).PRECISIONS
        except BackendUnavailable as error:
            refused.append(error)
            continue
        for precision in known if runtime.precision == 'auto' else (runtime.precision,):
            candidate = Candidate(name, precision)
            try:
                candidate.check(model)
            except SqzError as error:
                refused.append(error)
            else:
                found.append(candidate)
    return found, refused


def library(name: str) -> Library:
    """Return the module of a runtime. Raises BackendUnavailable where it cannot be imported."""
    if name not in BACKENDS:
        known = ', '.join(('auto', *BACKENDS))
        raise BackendUnavailable(f'no backend is called {name!r}; choose one of {known}')
    try:
        return cast(Library, importlib.import_module(f'sqz_perception.inference.{name}'))
    except Exception as error:  # an extension built for another NumPy raises more than ImportError
        missing = (getattr(error, 'name', None) or name).partition('.')[0]
        raise BackendUnavailable(
            f'{name} cannot be imported ({error}); pip install {missing}'
        ) from error
