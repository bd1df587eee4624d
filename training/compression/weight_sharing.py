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
"""Deep Compression: pruning by magnitude and shared weights (arXiv 1510.00149)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sqz_perception.model.network import Model, Tensor
from training.networks.pruning import prune

BITS = tuple(range(2, 9))
MAX_ROUNDS = 300  # of k-means
EPOCHS = 6


def densities(model: Model, overall: float) -> dict[str, float]:
    """
    Return the density of each weight tensor for an ``overall`` share of weights not zero.

    Each layer loses the same share of those that it still has, so a net that was pruned by its
    layers' sensitivity remains so. No density is above what it is.
    """
    weights = [model.tensors[node.weight] for node in model.convolutions]
    left = {tensor.name: np.count_nonzero(tensor.dense()) for tensor in weights}
    size = sum(tensor.values.size for tensor in weights)
    share = min(1.0, overall * size / max(1, sum(left.values())))
    return {tensor.name: share * left[tensor.name] / tensor.values.size for tensor in weights}


def share(name: str, weight: NDArray, bits: int) -> Tensor:
    """
    Return ``weight`` with at most 2^bits different values, as codes and a sorted codebook.

    Weights that are zero remain so, and zero is then one of the values.
    """
    kept = weight[weight != 0]
    zeros = [0.0] if kept.size < weight.size else []
    centroids = k_means(kept, 2**bits - len(zeros)) if kept.size else np.zeros(0)
    shared = np.zeros(weight.shape, np.float32)
    shared[weight != 0] = centroids[nearest(centroids, kept)]
    codebook, codes = np.unique(shared, return_inverse=True)
    return Tensor(name, codes.reshape(weight.shape).astype(np.uint8), codebook=codebook)


def k_means(values: NDArray, count: int) -> NDArray[np.float64]:
    """
    Return at most ``count`` centroids of ``values`` (n,), sorted: Lloyd's rounds until they rest.

    They begin evenly between the extremes, which keeps the few large weights, the ones that
    matter most (section 3.2 of the paper). ``count`` values or fewer are their own centroids.
    """
    values = np.sort(values.astype(np.float64))
    different = np.unique(values)
    if len(different) <= count:
        return different
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centroids = np.linspace(values[0], values[-1], count)
    for _ in range(MAX_ROUNDS):
        edges = np.searchsorted(values, _borders(centroids))
        edges = np.concatenate([[0], edges, [len(values)]])
        members = np.diff(edges)
        means = np.where(members, np.diff(sums[edges]) / np.maximum(members, 1), centroids)
        if np.array_equal(means, centroids):
            break
        centroids = means
    return centroids


def nearest(centroids: NDArray, values: NDArray) -> NDArray[np.int64]:
    """Return the index of the nearest of the sorted ``centroids`` to each of ``values`` (n,)."""
    return np.searchsorted(_borders(centroids), values)


def deep_compress(model: Model, densities: Mapping[str, float], bits: int) -> Model:
    """Return ``model`` pruned to ``densities``, by tensor, and shared; self-test of before."""
    tensors = dict(model.tensors)
    for node in model.convolutions:
        weight = model.tensors[node.weight].dense()
        kept = weight * prune(weight, densities.get(node.weight, 1.0))
        tensors[node.weight] = share(node.weight, kept, bits)
    return replace(model, tensors=tensors, ranges={})


def _borders(centroids: NDArray) -> NDArray[np.float64]:
    return (centroids[1:] + centroids[:-1]) / 2
