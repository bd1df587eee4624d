# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Make a model file small as Deep Compression does: prune, let weights share values, tune those.

Each layer keeps its largest weights; those it keeps take one of a few values, found by k-means.
Without labels the values are then tuned so that the answers to some 250 pictures stay as they
were. This is the peer of training.compress, which gives smaller files and int8 inference.

Source: Han et al., Deep Compression, arXiv 1510.00149, sections 2 to 4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sqz_perception.inference.options import count
from sqz_perception.model import codec
from sqz_perception.model.network import Model, Tensor
from training import calibration, command
from training.centroids import tune
from training.reference import self_test

EXAMPLES = """\
examples:
  python -m training.weight_sharing squeezenet.sqz -o shared.sqz --calibration PHOTOS.zip
  python -m training.weight_sharing squeezenet.sqz -o shared.sqz --calibration PHOTOS.zip \\
      --bits 5 --epochs 10
  python -m training.weight_sharing runs/mine.sqz -o shared.sqz --calibration DATA.zip \\
      --density 0.5

then:
  python -m training.evaluate shared.sqz --against squeezenet.sqz --images OTHER_PHOTOS.zip
"""
BITS = tuple(range(2, 9))
MAX_ROUNDS = 300  # of k-means
EPOCHS = 6


def prune(weight: NDArray, density: float) -> NDArray[np.bool_]:
    """Return which of ``weight`` are kept: the largest, round(density * size) of them."""
    order = np.argsort(-np.abs(weight), axis=None, kind='stable')
    kept = np.zeros(weight.size, bool)
    kept[order[: round(density * weight.size)]] = True
    return kept.reshape(weight.shape)


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


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.weight_sharing', __doc__ or '', EXAMPLES)
    calibration.add_arguments(parser)
    parser.add_argument(
        '--bits',
        type=int,
        choices=BITS,
        default=6,
        help='2^bits values for each layer, at most (default: %(default)s)',
    )
    parser.add_argument(
        '--density',
        type=density,
        default=1.0,
        metavar='SHARE',
        help='of all weights that are not zero, at most; above 0 to 1 (default: prune none)',
    )
    parser.add_argument(
        '--epochs',
        type=count,
        default=EPOCHS,
        metavar='N',
        help='of tuning; 0: none (default: %(default)s)',
    )
    return command.run(_compress, parser.parse_args(arguments))


def density(text: str) -> float:
    """Return a share above 0 and at most 1; what argparse calls."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0 and at most 1')
    return value


def _compress(options: argparse.Namespace) -> None:
    model, _, pictures = calibration.read(options)
    shared = deep_compress(model, densities(model, options.density), options.bits)
    shared = tune(model, shared, pictures, options.epochs)
    shared = replace(shared, self_test=self_test(shared))
    command.save(shared, options.output)
    print(_summary(shared))


def _summary(model: Model) -> str:
    """Return how many of the weights are not zero, and the size of the compressed tensors."""
    weights = [model.tensors[node.weight] for node in model.convolutions]
    kept = sum(int(np.count_nonzero(tensor.dense())) for tensor in weights)
    size = sum(tensor.values.size for tensor in weights)
    codebooks = [tensor.codebook for tensor in weights if tensor.codebook is not None]
    coded = len(codec.encode([*codebooks, *(one.values for one in model.tensors.values())]))
    return (
        f'{100 * kept / size:.1f} % of the weights are not zero; the tensors take {coded:,} bytes'
    )


if __name__ == '__main__':
    sys.exit(main())
