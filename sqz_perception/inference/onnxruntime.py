# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: the second runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from sqz_perception.errors import BackendFailed
from sqz_perception.inference.backend import Backend
from sqz_perception.model.graph import INPUT, OUTPUT

PROVIDER = 'CPUExecutionProvider'
FATAL = (
    4  # onnxruntime's log level: an error reaches us as an exception, its log line adds nothing
)


def precisions() -> tuple[str, ...]:
    """Return what it runs, fastest first: our int8 graph takes it 1.5 times as long as fp32."""
    return ('fp32', 'int8')


def build(model: onnx.ModelProto, precision: str, threads: int) -> Backend:
    """Return ``model`` ready to run on the CPU. Raises a BackendError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = FATAL
    # The idle threads of the pool would spin on cores that the robot needs.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, [PROVIDER])
    except Exception as error:  # its exceptions share no base class but Exception
        raise BackendFailed(f'ONNX Runtime refused the model: {_first_line(error)}') from error
    return _OnnxRuntime(session, precision, threads)


class _OnnxRuntime:
    def __init__(
        self, session: onnxruntime.InferenceSession, precision: str, threads: int
    ) -> None:
        self._session = session
        self.precision = precision
        count = f'{threads} threads' if threads else 'its own number of threads'
        version = onnxruntime.__version__
        self.description = f'ONNX Runtime {version} on the CPU, {precision}, {count}'

    def logits(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (logits,) = self._session.run([OUTPUT], {INPUT: picture[None]})
        except Exception as error:  # as above
            raise BackendFailed(f'ONNX Runtime failed on a frame: {_first_line(error)}') from error
        return logits[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else 'no reason given'
