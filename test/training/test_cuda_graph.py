# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What is around a recording of a GPU's work; there is none here, so its part is make-believe."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training import cuda_graph  # noqa: E402

CPU_BF16 = {'device_type': 'cpu', 'dtype': torch.bfloat16}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """Return a network with a norm, recorded as PyTorch does it: by a few passes."""

    def make_graphed_callables(net: torch.nn.Module, batch: tuple[torch.Tensor]) -> None:
        assert not torch.is_autocast_cache_enabled()
        for _ in range(3):
            net(*batch)
        net.forward = lambda *_: 'replayed'

    monkeypatch.setattr(torch.cuda, 'make_graphed_callables', make_graphed_callables)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))


@pytest.mark.parametrize('arithmetic', [nullcontext(), torch.autocast(**CPU_BF16)])
def test_a_recording_leaves_norms_and_arithmetic_as_they_were(
    net: torch.nn.Module, arithmetic: torch.autocast
) -> None:
    before = [buffer.clone() for buffer in net.buffers()]
    cuda_graph.record(net, torch.randn(5, 3, 2, 2), arithmetic)
    for buffer, values in zip(net.buffers(), before, strict=True):
        assert torch.equal(buffer, values)
    assert torch.is_autocast_cache_enabled()
    assert not torch.is_autocast_enabled('cpu')


def test_a_recording_is_forgotten(net: torch.nn.Module) -> None:
    batch = torch.randn(5, 3, 2, 2)
    cuda_graph.record(net, batch, nullcontext())
    assert net(batch) == 'replayed'
    cuda_graph.forget(net)
    assert net(batch).shape == (5, 4, 2, 2)
    cuda_graph.forget(net)  # where there is none
