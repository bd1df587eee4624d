# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: the second runtime, in fp32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed, BackendUnavailable
from sqz_perception.inference.backend import Backend
from sqz_perception.model.graph import INPUT, OUTPUT

PROVIDER = 'CPUExecutionProvider'
FATAL = (
    4  # onnxruntime's log level: an error reaches us as an exception, its log line adds nothing
)


def build(model: onnx.ModelProto, precision: str, threads: int) -> Backend:
    """Return ``model`` ready to run on the CPU. Raises a BackendError."""
    if precision not in ('auto', 'fp32'):
        raise BackendUnavailable(
            f'ONNX Runtime on the CPU runs fp32, not {precision}; set precision to auto or fp32'
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL
    # The idle threads of the pool would spin on cores that the robot needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, [PROVIDER])
    except Exception as error:  # its exceptions share no base class but Exception
        raise BackendFailed(f'ONNX Runtime refused the model: {_first_line(error)}') from error
    return _OnnxRuntime(session, threads)


class _OnnxRuntime:
    precision = 'fp32'

    def __init__(self, session: onnxruntime.InferenceSession, threads: int) -> None:
        self._session = session
        count = f'{threads} threads' if threads else 'its own number of threads'
        self.description = f'ONNX Runtime {onnxruntime.__version__} on the CPU, fp32, {count}'

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (logits,) = self._session.run([OUTPUT], {INPUT: picture[None]})
        except Exception as error:  # as above
            raise BackendFailed(f'ONNX Runtime failed on a frame: {_first_line(error)}') from error
        return logits[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else 'no reason given'
