# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The protocol that every inference runtime fulfils, and the choice between them.

Nothing falls back in silence: ``auto`` takes the first runtime that can be had and says why;
a runtime that was asked for by name and can't be had is an error.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import BackendUnavailable
from sqz_perception.inference.processor import adds_int8_exactly
from sqz_perception.model.int8 import largest_level, runs_in_int8
from sqz_perception.model.network import Model

if TYPE_CHECKING:
    import onnx

BACKENDS = ('openvino', 'onnxruntime')  # fastest first; each is a module of this package
PRECISIONS = ('auto', 'int8', 'bf16', 'fp32')
INEXACT = 'this processor has no VNNI, without which int8 is wrong for levels above 64'


class Backend(Protocol):
    """A model, ready to run. Used by one thread at a time."""

    precision: str  # of the arithmetic: 'int8', 'bf16' or 'fp32'
    description: str  # runtime, version, device, precision, threads: for people

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits, (classes,), of ``picture``, uint8 (height, width, 3) in BGR."""


@dataclass(frozen=True)
class Runtime:
    """Which runtime to use, and how. ``threads`` 0 leaves their number to the runtime."""

    backend: str = 'auto'  # 'auto' or one of BACKENDS
    precision: str = 'auto'  # one of PRECISIONS; 'auto' is the fastest that model and runtime have
    threads: int = 2


@dataclass(frozen=True)
class Choice:
    """A runtime that can be had, with its arithmetic, and in one line why it is these."""

    name: str
    precision: str  # 'int8', 'bf16' or 'fp32'
    why: str

    def build(self, model: onnx.ModelProto, threads: int) -> Backend:
        """Return ``model`` ready to run. Raises a BackendError."""
        return module(self.name).build(model, self.precision, threads)


def choose(runtime: Runtime, model: Model) -> Choice:
    """Return what ``runtime`` asks for, to run ``model``. Raises BackendUnavailable."""
    name, why = _choose_backend(runtime.backend)
    precision, why_precision = _choose_precision(name, runtime.precision, model)
    return Choice(name, precision, f'{why}; {precision}: {why_precision}')


def _choose_backend(wanted: str) -> tuple[str, str]:
    if wanted != 'auto':
        module(wanted)
        return wanted, 'asked for'
    reasons: list[str] = []
    for name in BACKENDS:
        try:
            module(name)
        except BackendUnavailable as error:
            reasons.append(str(error))
            continue
        return name, '; '.join(reasons) or 'the fastest on a CPU'
    raise BackendUnavailable('; '.join(reasons))


def _choose_precision(name: str, wanted: str, model: Model) -> tuple[str, str]:
    runs = module(name).precisions()
    inexact = not adds_int8_exactly(largest_level(model))
    if wanted == 'auto':
        if runs[0] != 'int8' or (runs_in_int8(model) and not inexact):
            return runs[0], 'its fastest arithmetic'
        return runs[1], INEXACT if inexact else 'the model has no int8'
    if wanted not in runs:
        raise BackendUnavailable(
            f'{name} does not run {wanted} on this processor; set precision to one of '
            f'{", ".join(("auto", *runs))}'
        )
    if wanted == 'int8' and inexact:
        raise BackendUnavailable(f'{INEXACT}; set precision to auto')
    return wanted, 'asked for'


def module(name: str) -> ModuleType:
    """
    Return the module of a runtime, the one that imports it.

    It has ``precisions()``, what it runs on this processor, fastest first, and
    ``build(model, precision, threads)``. Raises BackendUnavailable where the runtime can't be
    imported, or is none of BACKENDS.
    """
    if name not in BACKENDS:
        known = ', '.join(('auto', *BACKENDS))
        raise BackendUnavailable(f'no backend is called {name!r}; choose one of {known}')
    try:
        return importlib.import_module(f'sqz_perception.inference.{name}')
    except ImportError as error:
        raise BackendUnavailable(
            f'{name} cannot be imported ({error}); pip install {name}'
        ) from error
