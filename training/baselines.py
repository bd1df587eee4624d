# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The networks that SqueezeNet is set beside, and two that it learns from.

AlexNet and ResNet-50 are torchvision's. Each has a small form for pictures of 32x32 pixels, with
the filters of the original and its halvings brought forward: what is left of the picture before
the last layers is 4x4 pixels in AlexNet, 1x1 in ResNet-50. The teachers are EfficientNet-Lite0
and Lite2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn
from torchvision import models
from torchvision.models.efficientnet import MBConv, MBConvConfig

from training.depthwise import Depthwise

# EfficientNet-Lite0's stages: expansion, kernel, stride, channels in and out, blocks.
LITE0 = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


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


def efficientnet_lite(classes: int, width: float, depth: float) -> nn.Module:
    """
    Return an EfficientNet without squeeze-and-excitation, and with ReLU6 for SiLU.

    Tan and Le, EfficientNet, arXiv 1905.11946; the Lite nets are among Google's models for TPUs.
    As theirs, the first and the last stage are not made deeper, nor the layers around all wider.
    """
    block = partial(MBConv, se_layer=lambda *_, **__: nn.Identity())
    depths = [1.0, *[depth] * (len(LITE0) - 2), 1.0]
    net = models.EfficientNet(
        [
            MBConvConfig(*values, width_mult=width, depth_mult=deep, block=block)
            for values, deep in zip(LITE0, depths, strict=True)
        ],
        dropout=0.0,
        stochastic_depth_prob=0.0,
        num_classes=classes,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        last_channel=1280,
    )
    nn.init.normal_(net.classifier[-1].weight, std=0.005)
    for module in [*net.modules()]:
        for name, child in module.named_children():
            if isinstance(child, nn.SiLU):
                setattr(module, name, nn.ReLU6(inplace=True))
            if isinstance(child, nn.Conv2d) and child.groups == child.in_channels:
                child.__class__ = Depthwise
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
    'efficientnet_lite0': Baseline(partial(efficientnet_lite, width=1.0, depth=1.0), 224, 1000),
    'efficientnet_lite2': Baseline(partial(efficientnet_lite, width=1.1, depth=1.2), 260, 1000),
    'alexnet_small': Baseline(alexnet_small, 32, 10),
    'resnet50_small': Baseline(resnet50_small, 32, 10),
}
