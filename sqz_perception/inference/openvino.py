# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: the default runtime where there is no GPU."""

from __future__ import annotations

import sys
from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed
from sqz_perception.inference.backend import Backend

# Else OpenVINO reports each import to its maker: over the network, from a process forked off
# this one, under an id that it leaves in the home folder. No robot should do that unasked.
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
import openvino  # noqa: E402

DEVICE = 'CPU'
# Our word for a precision: OpenVINO's for the layers that the graph does not quantise.
HINTS = {'int8': 'f32', 'bf16': 'bf16', 'fp32': 'f32'}  # fastest first


@cache
def core() -> openvino.Core:
    """
    Return OpenVINO's entry, one for the whole process.

    Each brings a stack for the thread's signals along. When it goes, the stack goes too, but of
    several the thread may keep on to one that is gone: the next Ctrl-C then ends in a crash.
    """
    return openvino.Core()


def precisions() -> tuple[str, ...]:
    """Return what this processor runs, fastest first."""
    found = core().get_property(DEVICE, 'OPTIMIZATION_CAPABILITIES')
    return tuple(name for name in HINTS if name.upper() in found)


def build(model: onnx.ModelProto, precision: str, threads: int) -> Backend:
    """Return ``model`` compiled for this processor. Raises a BackendError."""
    try:
        read = core().read_model(model.SerializeToString())
    except RuntimeError as error:
        raise BackendFailed(f'OpenVINO refused the model: {_first_line(error)}') from error
    return compiled(read, precision, threads)


def compiled(model: openvino.Model, precision: str, threads: int) -> Backend:
    """Return OpenVINO's own form of a model compiled for this processor. Raises BackendFailed."""
    settings: dict[str, object] = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': HINTS[precision],
        'ENABLE_CPU_PINNING': False,  # a robot's cores are shared
    }
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    try:
        return _OpenVino(core().compile_model(model, DEVICE, settings), precision)
    except RuntimeError as error:
        raise BackendFailed(f'OpenVINO refused the model: {_first_line(error)}') from error


class _OpenVino:
    def __init__(self, compiled: openvino.CompiledModel, precision: str) -> None:
        self._request = compiled.create_infer_request()
        self.precision = precision
        threads = compiled.get_property('INFERENCE_NUM_THREADS')
        version = openvino.__version__.split('-')[0]
        self.description = f'OpenVINO {version} on the CPU, {precision}, {threads} threads'

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            self._request.infer([picture[None]], share_inputs=True)
        except RuntimeError as error:
            raise BackendFailed(f'OpenVINO failed on a frame: {_first_line(error)}') from error
        return self._request.get_output_tensor(0).data[0].copy()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else 'no reason given'
