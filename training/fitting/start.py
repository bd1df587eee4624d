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
Begin with the weights of a model file or a checkpoint instead of random ones: transfer learning.

A model file's graph is compared with the recipe's network node for node, so strides, pads and
pools agree as well as shapes. Batch norm is folded in it; where the network has norms, they begin
anew (training.norms). A checkpoint of training.train has its norms still.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import zip_longest

import torch
from torch import Tensor, nn

from sqz_perception.model import file
from sqz_perception.model.network import InputSpec, Model, Node
from training.errors import ArchitectureInvalid, CheckpointInvalid
from training.model_files.checkpoints import (
    assembled,
    load_checkpoint,
    load_content,
    network_state,
)
from training.networks import norms
from training.networks.config import Preprocessing
from training.networks.models import SqueezeNet

FIRST, HEAD = 'conv1', 'conv10'


@dataclass(frozen=True)
class Beginning:
    """What a network was given."""

    preprocessing: Preprocessing
    new_head: bool  # its last layer is random
    new_norms: bool  # they only add; training.networks.norms.settle makes them normalise


def begin(net: SqueezeNet, path: str, labels: tuple[str, ...], size: int) -> Beginning:
    """
    Give ``net`` the weights at ``path``; return their preprocessing and what is new.

    The last layer keeps its random weights where the file has other ``labels``. Raises
    ArchitectureInvalid where the file is of another network or for pictures that are not ``size``
    pixels high and wide, and a ModelError or CheckpointInvalid where it can't be read.
    """
    checkpoint = path.endswith('.ckpt')
    read = _from_checkpoint if checkpoint else _from_model
    try:
        spec, known = read(net, path, labels, size)
    except ArchitectureInvalid as error:
        raise ArchitectureInvalid(f'{path}: {error}') from error
    # Twice inverted, 62.1 would have become 62.10000000000001.
    red, green, blue = (float(f'{1 / scale:.9g}') for scale in spec.scale)
    values = Preprocessing(spec.color, spec.mean, (red, green, blue))
    return Beginning(values, known != labels, net.architecture.norm and not checkpoint)


def begin_baseline(net: nn.Module, path: str) -> None:
    """
    Give a baseline the weights at ``path``: a checkpoint of it, or torchvision's state dict.

    The last layer keeps its random weights where it has another number of classes. Raises
    CheckpointInvalid where the file can't be read, and ArchitectureInvalid where it is of another
    network.
    """
    given = _trained(path) if path.endswith('.ckpt') else _published(path)
    own = net.state_dict()
    head = [*own][-2:]  # weight and bias of the last layer
    given = {name: v for name, v in given.items() if name in own and v.shape == own[name].shape}
    left_out = {name for name in own.keys() - given.keys() if not name.endswith('_tracked')}
    if not left_out <= {*head}:
        raise ArchitectureInvalid(
            f'{path} is of another network: no {min(left_out - {*head})} of this shape; give the '
            'weights of this baseline'
        )
    net.load_state_dict(given, strict=False)


def freeze(net: SqueezeNet, first: str) -> list[nn.Module]:
    """
    Let training leave the layers before ``first`` as they are; return them with their norms.

    Raises ArchitectureInvalid where there is no layer of that name.
    """
    names = [FIRST, *net.architecture.names(), HEAD]
    if first not in names:
        raise ArchitectureInvalid(
            f'there is no layer {first!r} to train from; there are {", ".join(names)}'
        )
    before = [_part(net, name) for name in names[: names.index(first)]]
    if before:
        before.append(net.norm1)  # the only norm that is beside its layer, not in it
    for part in before:
        part.requires_grad_(False)
    return before


def _trained(path: str) -> dict[str, Tensor]:
    content = load_content(path)
    if content['sqz_perception'].config.baseline is None:
        raise ArchitectureInvalid(
            f'{path} is of a SqueezeNet; leave out --model.baseline, or give weights of that'
        )
    return network_state(content)


def _published(path: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}
    except FileNotFoundError as error:
        raise CheckpointInvalid(f'{path}: no such file; give the published weights') from error
    except Exception as error:  # torch.load raises whatever pickle and zip do
        raise CheckpointInvalid(
            f"{path}: torch can't read it as a state dict; give the published weights as they are"
        ) from error


def _from_model(
    net: SqueezeNet, path: str, labels: tuple[str, ...], size: int
) -> tuple[InputSpec, tuple[str, ...]]:
    model = file.read(path)
    _check(model, net, size)
    _load(model, net, with_head=model.labels == labels)
    return model.input, model.labels


def _from_checkpoint(
    net: SqueezeNet, path: str, labels: tuple[str, ...], size: int
) -> tuple[InputSpec, tuple[str, ...]]:
    trained = load_checkpoint(path)
    own = net.architecture
    alike = replace(trained.net.architecture, classes=own.classes, dropout=own.dropout)
    if alike != own:
        raise ArchitectureInvalid(
            'it is of another network than the recipe; give the recipe the architecture in the '
            'config.yaml beside it, or start from another file'
        )
    _check_size(trained.spec, size)
    state = trained.net.state_dict()
    if trained.labels != labels:
        state |= {f'{HEAD}.{name}': p for name, p in net.get_submodule(HEAD).state_dict().items()}
    net.load_state_dict(state)
    return trained.spec, trained.labels


def _check_size(spec: InputSpec, size: int) -> None:
    if (spec.height, spec.width) != (size, size):
        raise ArchitectureInvalid(
            f'it is for pictures of {spec.width}x{spec.height} pixels, not {size}x{size}; '
            f'set --data.size to {spec.height}'
        )


def _check(model: Model, net: SqueezeNet, size: int) -> None:
    _check_size(model.input, size)
    for found, own in zip_longest(model.nodes, assembled(net, 'float32').nodes):
        if found != own:
            raise _another(_words(found), _words(own))


@torch.no_grad()
def _load(model: Model, net: SqueezeNet, with_head: bool) -> None:
    biases = {}
    for node in model.convolutions:
        if node.name == HEAD and not with_head:
            continue
        part = _part(net, node.name)
        weight, bias = (model.tensors[name].dense() for name in (node.weight, node.bias))
        if weight.shape != part.weight.shape:
            raise _another(*(f'{node.weight} {tuple(w.shape)}' for w in (weight, part.weight)))
        part.weight.copy_(torch.from_numpy(weight))
        biases[node.name] = torch.from_numpy(bias)
        if part.bias is not None:
            part.bias.copy_(biases[node.name])
    if net.architecture.norm:
        norms.only_add(net, biases)


def _part(net: SqueezeNet, name: str) -> nn.Module:
    """Return a layer, or a convolution in one, by its name in a model file."""
    return net.get_submodule(name if name in (FIRST, HEAD) else f'fires.{name}')


def _another(found: str, own: str) -> ArchitectureInvalid:
    return ArchitectureInvalid(
        f"it has {found} where the recipe's network has {own}; give the recipe the file's "
        'architecture, or start from another file'
    )


def _words(node: Node | None) -> str:
    if node is None:
        return 'no further layer'
    sizes = {key: value for key, value in asdict(node).items() if isinstance(value, int) and value}
    more = ''.join(f', {key} {value}' for key, value in sizes.items())
    return f'{node.op} {node.name} of {" and ".join(node.inputs)}{more}'
