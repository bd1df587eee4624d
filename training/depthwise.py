# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Depthwise convolutions that train on a CPU in bf16.

PyTorch's own gradient of most of them is several times slower (docs/adr/0007-training.md). Here it
is made of what is fast: the input's gradient is another depthwise convolution, the kernel's a sum
of products for each of its places.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad


class Depthwise(nn.Conv2d):
    """A convolution of each channel (N, C, H, W) with its own kernel, padded by half of it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H / stride, W / stride), rounded up, in bf16 under autocast."""
        weight = self.weight
        if x.device.type != 'cpu' or self._fast():
            return conv2d(x, weight, None, self.stride, self.padding, groups=self.groups)
        if torch.is_autocast_enabled('cpu'):
            kind = torch.get_autocast_dtype('cpu')
            x, weight = x.to(kind), weight.to(kind)
        return _Depthwise.apply(x, weight, self.stride[0])

    def _fast(self) -> bool:
        """Tell whether PyTorch's own gradient will do."""
        return self.kernel_size == (3, 3) and self.stride == (1, 1)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return conv2d(x, weight, None, stride, len(weight[0, 0]) // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        half = len(weight[0, 0]) // 2
        spread = gradient
        if ctx.stride > 1:
            spread = torch.zeros_like(x, memory_format=torch.channels_last)
            spread[:, :, :: ctx.stride, :: ctx.stride] = gradient
        of_x = conv2d(spread, weight.flip(2, 3), None, 1, half, groups=len(weight))
        return of_x, _of_weight(pad(x, (half,) * 4), gradient, weight, ctx.stride), None


def _of_weight(padded: Tensor, gradient: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the kernels' gradient (C, 1, K, K), each place's summed in fp32."""
    rows, columns = gradient.shape[2:]
    padded, gradient = padded.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)  # (N, H, W, C)
    sums = torch.empty_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            under = padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
            products = under[:, :rows, :columns] * gradient
            sums[:, 0, i, j] = products.flatten(0, 2).sum(0, dtype=sums.dtype)
    return sums.to(weight.dtype)
