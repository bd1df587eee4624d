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
"""One SqueezeNet v1.0 for all: a model file for our node, a state dict for the plain one."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision

from sqz_perception.model import file
from sqz_perception.model.network import InputSpec, Model
from training.model_files.assemble import Identity
from training.model_files.checkpoints import to_model
from training.networks.architecture import PRESETS
from training.networks.models import SqueezeNet, load_torchvision

# What torchvision's weights expect, in 0..255 units.
MEAN = (123.675, 116.28, 103.53)
SCALE = (1 / 58.395, 1 / 57.12, 1 / 57.375)
SPEC = InputSpec(224, 224, 256, 'rgb', MEAN, SCALE)
CLASSES = 1000


def make(model: Path, state: Path) -> None:
    """Write random weights, which take as long as trained ones, as both kinds of file."""
    torch.manual_seed(0)
    plain = torchvision.models.squeezenet1_0(weights=None).eval()
    net = SqueezeNet(PRESETS['squeezenet1_0']).eval()
    load_torchvision(net, plain.state_dict())
    labels = tuple(f'class {index}' for index in range(CLASSES))
    file.write(to_model(net, SPEC, labels, Identity('squeezenet1_0'), 'float32'), model)
    torch.save(plain.state_dict(), state)


def convert(model: Path, state: Path) -> bool:
    """Write the weights of a model file for torchvision; False where it is another network."""
    plain = torchvision.models.squeezenet1_0(weights=None).state_dict()
    own = _in_order(file.read(model))
    if [value.shape for value in own] != [value.shape for value in plain.values()]:
        return False
    torch.save(dict(zip(plain, own, strict=True)), state)
    return True


def _in_order(model: Model) -> list[torch.Tensor]:
    names = [node.name for node in model.nodes if node.op == 'conv']
    return [
        torch.from_numpy(model.tensors[f'{name}.{part}'].dense())
        for name in names
        for part in ('weight', 'bias')
    ]
