# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: the default runtime where there is no GPU."""

from __future__ import annotations

import numpy as np
import onnx
import openvino
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed, BackendUnavailable
from sqz_perception.inference.backend import Backend

DEVICE = 'CPU'
HINTS = {'fp32': 'f32', 'bf16': 'bf16'}  # our word for a precision: OpenVINO's


def build(model: onnx.ModelProto, precision: str, threads: int) -> Backend:
    """Return ``model`` compiled for this processor. Raises a BackendError."""
    core = openvino.Core()
    precision = _precision(core, precision)
    settings: dict[str, object] = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': HINTS[precision],
        'ENABLE_CPU_PINNING': False,  # a robot's cores are shared
    }
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    try:
        compiled = core.compile_model(core.read_model(model.SerializeToString()), DEVICE, settings)
    except RuntimeError as error:
        raise BackendFailed(f'OpenVINO refused the model: {_first_line(error)}') from error
    return _OpenVino(compiled, precision)


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


def _precision(core: openvino.Core, wanted: str) -> str:
    has_bf16 = 'BF16' in core.get_property(DEVICE, 'OPTIMIZATION_CAPABILITIES')
    if wanted == 'auto':
        return 'bf16' if has_bf16 else 'fp32'
    if wanted not in HINTS:
        raise BackendUnavailable(f'OpenVINO knows no precision {wanted!r}; use auto, fp32 or bf16')
    if wanted == 'bf16' and not has_bf16:
        raise BackendUnavailable('this processor has no bf16; set precision to auto or fp32')
    return wanted


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:200] if str(error).strip() else 'no reason given'
