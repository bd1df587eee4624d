# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolutions have PyTorch's own values and gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training.depthwise import Depthwise  # noqa: E402


@pytest.mark.parametrize('side', [1, 6, 7])
@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize('kernel', [3, 5])
def test_values_and_gradients_are_pytorch_s(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(2)
    plain = torch.nn.Conv2d(
        4, 4, kernel, stride, kernel // 2, groups=4, bias=False, dtype=torch.float64
    )
    own = Depthwise(4, 4, kernel, stride, kernel // 2, groups=4, bias=False, dtype=torch.float64)
    own.load_state_dict(plain.state_dict())
    x = torch.randn(3, 4, side, side + 1, dtype=torch.float64, requires_grad=True)
    found = []
    for layer in (plain, own):
        y = layer(x)
        slope = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(3))
        found.append([y, *torch.autograd.grad(y, (x, layer.weight), slope)])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)


def test_under_autocast_its_values_are_bf16_and_its_gradient_is_near() -> None:
    torch.manual_seed(2)
    layer = Depthwise(8, 8, 5, 2, 2, groups=8, bias=False)
    x = torch.randn(4, 8, 12, 12)
    slopes = []
    for cast in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=cast):
            y = layer(x)
        assert y.dtype == (torch.bfloat16 if cast else torch.float32)
        (slope,) = torch.autograd.grad(y.float().square().sum(), layer.weight)
        assert slope.dtype == torch.float32
        slopes.append(slope)
    torch.testing.assert_close(slopes[1], slopes[0], rtol=0.05, atol=0.02 * slopes[0].std().item())
