# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The protocol that every inference runtime fulfils, and the choice between them.

Nothing falls back in silence: ``auto`` takes the first runtime that can be had and says why;
a runtime that was asked for by name and can't be had is an error.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import BackendUnavailable

if TYPE_CHECKING:
    import onnx

BACKENDS = ('openvino', 'onnxruntime')  # fastest first; each is a module of this package
PRECISIONS = ('auto', 'fp32', 'bf16')


class Backend(Protocol):
    """A model, ready to run. Used by one thread at a time."""

    precision: str  # of the arithmetic: 'fp32' or 'bf16'
    description: str  # runtime, version, device, precision, threads: for people

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits (classes,) of ``picture``, uint8 (height, width, 3) in BGR."""


@dataclass(frozen=True)
class Runtime:
    """Which runtime to use, and how. ``threads`` 0 leaves their number to the runtime."""

    backend: str = 'auto'  # 'auto' or one of BACKENDS
    precision: str = 'auto'  # one of PRECISIONS; 'auto' is bf16 where the processor has it
    threads: int = 2


@dataclass(frozen=True)
class Choice:
    """A runtime that can be had, and in one line why it is this one."""

    name: str
    why: str

    def build(self, model: onnx.ModelProto, runtime: Runtime) -> Backend:
        """Return ``model`` ready to run. Raises a BackendError."""
        module = importlib.import_module(f'sqz_perception.inference.{self.name}')
        return module.build(model, runtime.precision, runtime.threads)


def choose(backend: str) -> Choice:
    """Return the runtime for ``backend``: 'auto' or a name. Raises BackendUnavailable."""
    if backend != 'auto':
        _require(backend)
        return Choice(backend, 'asked for')
    reasons: list[str] = []
    for name in BACKENDS:
        try:
            _require(name)
        except BackendUnavailable as error:
            reasons.append(str(error))
            continue
        return Choice(name, '; '.join(reasons) or 'the fastest on a CPU')
    raise BackendUnavailable('; '.join(reasons))


def _require(name: str) -> None:
    if name not in BACKENDS:
        known = ', '.join(('auto', *BACKENDS))
        raise BackendUnavailable(f'no backend is called {name!r}; choose one of {known}')
    # Else OpenVINO reports each import to its maker: over the network, from a process forked off
    # this one, under an id that it leaves in the home folder. No robot should do that unasked.
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise BackendUnavailable(
            f'{name} cannot be imported ({error}); pip install {name}'
        ) from error
