# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Work of a GPU as CUDA graphs: recorded once, replayed in each step.

A small network's layers, and a small weight's step, take a GPU less time than the processor needs
to start them one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def capture(work: Callable[[], None]) -> Callable[[], None]:
    """
    Return what does again the GPU's part of ``work``, on the same memory; nothing is done yet.

    What ``work`` takes from the processor, such as a number, remains what it was.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def record(net: nn.Module, batch: Tensor, arithmetic: AbstractContextManager[object]) -> None:
    """
    Let ``net``, in training, replay its forward and backward pass; ``forget`` ends that.

    Each batch then has the shape of ``batch``, which is on the GPU as ``net`` is, and the
    gradients of a step take the place of the last one's. In evaluation ``net`` works as before.
    ``arithmetic`` is the autocast that it is trained in.
    """
    before = [buffer.clone() for buffer in net.buffers()]
    cached = torch.is_autocast_cache_enabled()
    with arithmetic:
        # Weights cast before would be replayed as they were then.
        torch.set_autocast_cache_enabled(False)
        torch.cuda.make_graphed_callables(net, (batch,))
    torch.set_autocast_cache_enabled(cached)
    for buffer, values in zip(net.buffers(), before, strict=True):
        buffer.copy_(values)  # norms have seen the batch some times


def forget(net: nn.Module) -> None:
    """Let ``net`` be run layer by layer again."""
    net.__dict__.pop('forward', None)
