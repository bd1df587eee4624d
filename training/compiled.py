# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
A network as OpenVINO runs it: on a processor it answers several times faster than in PyTorch.

For networks that are not in a model file, such as teachers and the baselines of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sqz_perception.inference import backend


def compiled(net: nn.Module, inputs: Tensor, **settings: Any) -> Callable[[Tensor], Tensor]:
    """
    Return a function that answers as ``net`` does in evaluation, on this machine's processor.

    It takes tensors of the shape and the type of ``inputs``. ``settings`` are OpenVINO's. Raises
    BackendUnavailable where OpenVINO is missing.
    """
    backend.library('openvino')
    from openvino import convert_model  # only now: the runtime's module keeps it from reporting

    from sqz_perception.inference import openvino as runtime

    model = convert_model(torch.export.export(net.eval(), (inputs,)))
    request = runtime.core().compile_model(model, runtime.DEVICE, settings).create_infer_request()

    def answer(given: Tensor) -> Tensor:
        request.infer([given.numpy()])
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return answer
