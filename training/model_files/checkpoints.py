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
"""What training keeps: checkpoints, and the model files made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sqz_perception.model.network import InputSpec, Model, Tensor
from training.errors import CheckpointInvalid
from training.model_files.assemble import Assembler, Identity, Layer
from training.networks.architecture import STEMS
from training.networks.config import Description
from training.networks.models import Fire, SqueezeNet

OTHER_VERSION = 'its description or its weights are of another version'


@dataclass(frozen=True)
class Trained:
    """What a checkpoint of ``training.train`` holds: the network and all that goes with it."""

    net: SqueezeNet
    spec: InputSpec
    labels: tuple[str, ...]


def to_model(
    net: SqueezeNet,
    spec: InputSpec,
    labels: tuple[str, ...],
    identity: Identity,
    dtype: str = 'float16',
    base: Mapping[str, Tensor] | None = None,
) -> Model:
    """
    Return ``net`` as a model with its weights stored as ``dtype`` and a self-test.

    What has the same values in ``base`` is stored as it is there.
    """
    return assembled(net, dtype, base).finish(identity, spec, labels)


def assembled(net: SqueezeNet, dtype: str, base: Mapping[str, Tensor] | None = None) -> Assembler:
    """Return the nodes and the tensors of ``net``; the arguments are those of ``to_model``."""
    stem = STEMS[net.architecture.stem]
    assembler = Assembler(dtype, base)
    assembler.conv('conv1', folded(net.conv1, net.norm1), stem.stride, stem.pad)
    assembler.relu()
    for name, layer in net.fires.items():
        if isinstance(layer, Fire):
            bypass, project = layer.bypass, None
            if layer.project is not None:
                project = folded(layer.project, layer.project_norm)
            assembler.fire(name, *_fire(layer), bypass, layer.add_first, project)
        else:
            assembler.max_pool(name)
    assembler.conv('conv10', folded(net.conv10, nn.Identity()))
    if stem.head_relu:
        assembler.relu()
    assembler.average()
    return assembler


def folded(conv: nn.Conv2d, norm: nn.Module) -> Layer:
    """Return one convolution that does what ``conv`` and then ``norm`` do."""
    weight = conv.weight.detach().double()  # (out, in, kh, kw)
    bias = torch.zeros(len(weight)).double() if conv.bias is None else conv.bias.detach().double()
    if isinstance(norm, nn.BatchNorm2d):
        gain, shift = _affine(norm)
        weight, bias = weight * gain[:, None, None, None], bias * gain + shift
    return Layer(weight.float().numpy(), bias.float().numpy())


def load_checkpoint(path: str | os.PathLike[str]) -> Trained:
    """
    Read a checkpoint of ``training.train``.

    Raises CheckpointInvalid, also for a baseline: no robot runs one.
    """
    content = load_content(path)
    description = content['sqz_perception']
    if description.config.baseline:
        raise CheckpointInvalid(
            f'{path} is of {description.config.baseline}, which is there to compare with and not '
            'for a robot; train an architecture of the family'
        )
    net = SqueezeNet(description.config.architecture)
    try:
        net.load_state_dict(network_state(content))
    except Exception as error:  # whatever a missing key or another shape gives
        raise invalid(path, OTHER_VERSION) from error
    return Trained(net.eval(), _spec(description), description.labels)


def load_content(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a checkpoint holds, with its Description. Raises CheckpointInvalid."""
    if not Path(path).is_file():
        raise CheckpointInvalid(f'{path}: no such file; training.train writes best.ckpt')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch.load raises whatever pickle and zip do
        raise invalid(path, 'torch can not read it') from error
    description = content.get('sqz_perception') if isinstance(content, dict) else None
    if not isinstance(description, dict):
        raise invalid(path, 'another program wrote it')
    try:
        known = Description.of(description)
        return {'state_dict': content['state_dict'], 'sqz_perception': known}
    except Exception as error:  # whatever a missing or another value gives
        raise invalid(path, OTHER_VERSION) from error


def invalid(path: str | os.PathLike[str], reason: str) -> CheckpointInvalid:
    """Return what to raise for a file that is no checkpoint of this trainer."""
    return CheckpointInvalid(
        f'{path}: no checkpoint of this training.train: {reason}; train again'
    )


def _fire(layer: Fire) -> tuple[Layer, Layer, Layer]:
    """Fold the norm over the concatenation into the two halves that it joins."""
    squeeze = folded(layer.squeeze1x1, layer.squeeze_norm)
    expand1x1 = folded(layer.expand1x1, nn.Identity())
    expand3x3 = folded(layer.expand3x3, nn.Identity())
    if isinstance(layer.expand_norm, nn.BatchNorm2d):
        gain, shift = (values.numpy() for values in _affine(layer.expand_norm))
        cut = len(expand1x1.bias)
        expand1x1 = _scaled(expand1x1, gain[:cut], shift[:cut])
        expand3x3 = _scaled(expand3x3, gain[cut:], shift[cut:])
    return squeeze, expand1x1, expand3x3


def _scaled(layer: Layer, gain: np.ndarray, shift: np.ndarray) -> Layer:
    weight = layer.weight * gain[:, None, None, None]
    return Layer(weight.astype(np.float32), (layer.bias * gain + shift).astype(np.float32))


def _affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gain and shift (channels,), float64: norm(x) = x * gain + shift, once trained."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gain = norm.weight.detach().double() / torch.sqrt(variance + norm.eps)
    return gain, norm.bias.detach().double() - mean * gain


def network_state(content: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the weights of the network in a checkpoint's content, by their names in it."""
    state, prefix = content['state_dict'], 'net.'
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _spec(description: Description) -> InputSpec:
    size, values = description.size, description.preprocessing
    red, green, blue = (1 / std for std in values.std)
    return InputSpec(size, size, size, values.color, values.mean, (red, green, blue))
