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
The networks that SqueezeNet is compared with.

AlexNet and ResNet-50 are torchvision's. Each has a small form for pictures of 32x32 pixels, with
the filters of the original and its halvings brought forward: what is left of the picture before
the last layers is 4x4 pixels in AlexNet, 1x1 in ResNet-50.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torchvision import models


def alexnet(classes: int) -> nn.Module:
    """Krizhevsky, One weird trick for parallelizing convolutional networks, arXiv 1404.5997."""
    return models.alexnet(weights=None, num_classes=classes)


def resnet50(classes: int) -> nn.Module:
    """He et al., Deep Residual Learning, arXiv 1512.03385; stride in the 3x3 convolutions."""
    return models.resnet50(weights=None, num_classes=classes)


def alexnet_small(classes: int) -> nn.Module:
    """Return AlexNet's five convolutions and three linear layers for 32x32 pixels, 3x3 kernels."""
    net = models.alexnet(weights=None, num_classes=classes)
    filters = [layer.out_channels for layer in net.features if isinstance(layer, nn.Conv2d)]
    halved = (0, 1, 4)  # convolutions that a pool follows, as in the original
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(zip([3, *filters], filters, strict=False)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True)]
        if i in halved:
            layers.append(nn.MaxPool2d(2))
    net.features = nn.Sequential(*layers)
    net.avgpool = nn.Identity()
    net.classifier[1] = nn.Linear(filters[-1] * 4 * 4, net.classifier[1].out_features)
    return net


def resnet50_small(classes: int) -> nn.Module:
    """ResNet-50 on 32x32 pixels: a kernel of 3x3 in its first layer instead of 7x7."""
    net = models.resnet50(weights=None, num_classes=classes)
    net.conv1 = nn.Conv2d(3, net.conv1.out_channels, 3, stride=2, padding=1, bias=False)
    return net


@dataclass(frozen=True)
class Baseline:
    """How to build a network for a number of classes, and what the original is for."""

    build: Callable[[int], nn.Module]
    size: int  # height and width of its pictures, pixels
    classes: int


BASELINES = {
    'alexnet': Baseline(alexnet, 224, 1000),
    'resnet50': Baseline(resnet50, 224, 1000),
    'alexnet_small': Baseline(alexnet_small, 32, 10),
    'resnet50_small': Baseline(resnet50_small, 32, 10),
}
