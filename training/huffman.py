# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
What Huffman's code makes of shared weights: the coder of Deep Compression, to compare ours with.

Only lengths are computed; nothing is written in this format. Source: Han et al., Deep
Compression, arXiv 1510.00149, sections 2 and 4.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sqz_perception.model.network import Tensor

MAX_GAP = 255  # zeros between two stored weights of a convolution: 8 bits in the paper


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bits of each symbol's code (n,) for symbols seen ``counts`` times, each > 0."""
    lengths = np.zeros(len(counts), np.int64)
    heap = [(int(count), index, [index]) for index, count in enumerate(counts)]
    heapq.heapify(heap)
    while len(heap) > 1:
        (least, _, some), (less, tie, others) = heapq.heappop(heap), heapq.heappop(heap)
        merged = some + others
        lengths[merged] += 1
        heapq.heappush(heap, (least + less, tie, merged))
    return lengths


def coded_bits(symbols: NDArray) -> int:
    """
    Return the bits of ``symbols``, integers of any shape, and of the table that decodes them.

    A canonical table is a code length for each symbol from 0 to the largest.
    """
    counts = np.bincount(symbols.reshape(-1).astype(np.int64))
    if not counts.any():
        return 0
    lengths = code_lengths(counts[counts > 0])
    table = len(counts) * int(lengths.max()).bit_length()
    return int((counts[counts > 0] * lengths).sum()) + table


def coded_bytes(tensors: Iterable[Tensor]) -> int:
    """Return what ``tensors`` take: codes by Huffman; codebooks and all others as they are."""
    total = 0
    for tensor in tensors:
        if tensor.codebook is None:
            total += tensor.values.nbytes + (0 if tensor.step is None else tensor.step.nbytes)
        else:
            bits = min(coded_bits(tensor.values), _sparse_bits(tensor.values, tensor.codebook))
            total += tensor.codebook.nbytes + -(-bits // 8)
    return total


def _sparse_bits(codes: NDArray[np.uint8], codebook: NDArray[np.float32]) -> int:
    """Return the bits of the weights that are not zero and of the gaps before them."""
    flat = codes.reshape(-1)
    stored = np.flatnonzero(codebook[flat] != 0)
    gaps = np.diff(stored, prepend=-1) - 1
    bridges = gaps // (MAX_GAP + 1)  # entries of value zero, where a gap is too long for one
    ends = np.full(int(bridges.sum()), MAX_GAP)
    zeros = np.full(len(ends), int(np.flatnonzero(codebook == 0)[0]) if len(ends) else 0)
    return coded_bits(np.concatenate([flat[stored], zeros])) + coded_bits(
        np.concatenate([gaps % (MAX_GAP + 1), ends])
    )
