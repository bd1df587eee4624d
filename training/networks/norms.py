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
Batch norms put into a network that was published without them, or has them folded in.

With norms a network can be trained at high rates. What it answers stays the same: first each norm
only adds the bias of its convolution; then, once pictures tell what values there are, it takes out
their mean and deviation and puts them back as its own bias and gain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.networks.models import Fire, SqueezeNet

LEAST = 0.05  # a channel's deviation, in parts of its layer's mean: hardly used ones stay small


@dataclass(frozen=True)
class Place:
    """Where a norm is."""

    norm: nn.BatchNorm2d
    behind: tuple[str, ...]  # the convolutions, named as in a model file, that it follows
    before: tuple[nn.Conv2d, ...]  # those that see its output


@torch.no_grad()
def only_add(net: SqueezeNet, biases: Mapping[str, Tensor]) -> None:
    """
    Let each norm of ``net`` add the biases of its convolutions and, in evaluation, do no more.

    ``biases``, each (channels,), are by the names that the convolutions have in a model file.
    """
    for place in _places(net):
        norm = place.norm
        norm.reset_parameters()
        norm.running_var.fill_(1 - norm.eps)
        norm.bias.copy_(torch.cat([biases[name] for name in place.behind]))


@torch.no_grad()
def settle(net: SqueezeNet, images: Tensor) -> None:
    """
    Let the norms of ``net`` normalise, while in evaluation its answers stay the same.

    Where no bypass joins layers, each channel behind a norm has a deviation of one, too, and the
    next convolutions take the scale over: so one rate suits all layers. Norms that are not to be
    trained stay as they are.

    :param net: A network with norms.
    :param images: Normalised pictures (N, 3, H, W), as in training; they tell mean and deviation.
    """
    plain = net.architecture.bypass == 'none'
    hooks = [
        place.norm.register_forward_hook(_settler(place.before if plain else ()))
        for place in _places(net)
        if place.norm.weight.requires_grad
    ]
    trained = net.training
    try:
        net.eval()(images)
    finally:
        net.train(trained)
        for hook in hooks:
            hook.remove()


def _settler(before: tuple[nn.Conv2d, ...]) -> Callable[..., Tensor]:
    """Return a hook that settles a norm and then the convolutions that are run next."""

    def hook(norm: nn.BatchNorm2d, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        values = inputs[0].float()
        mean = values.mean((0, 2, 3))
        deviation = (values.var((0, 2, 3), unbiased=False) + norm.eps).sqrt()
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * gain
        scale = torch.ones_like(gain)
        if before:
            scale = gain.abs() * deviation
            scale = scale.clamp(min=LEAST * float(scale.mean()))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(deviation**2 - norm.eps)
        norm.weight.copy_(gain * deviation / scale)
        norm.bias.copy_((shift + gain * mean) / scale)
        for convolution in before:
            convolution.weight.mul_(scale[:, None, None])
        return output / scale[:, None, None]

    return hook


def _places(net: SqueezeNet) -> Iterator[Place]:
    fires = {name: layer for name, layer in net.fires.items() if isinstance(layer, Fire)}
    after = [*(fire.squeeze1x1 for fire in fires.values()), net.conv10]
    yield Place(net.norm1, ('conv1',), (after[0],))
    for (name, fire), convolution in zip(fires.items(), after[1:], strict=True):
        if fire.project is not None:
            yield Place(fire.project_norm, (f'{name}.project',), ())
        yield Place(fire.squeeze_norm, (f'{name}.squeeze1x1',), (fire.expand1x1, fire.expand3x3))
        halves = f'{name}.expand1x1', f'{name}.expand3x3'
        yield Place(fire.expand_norm, halves, (convolution,))
