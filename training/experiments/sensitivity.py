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
How much each layer's weights matter: pruned alone, the others as they were.

Source of the scan: Han et al., Learning both Weights and Connections, arXiv 1506.02626, section
3.3, and the early versions of Iandola et al., SqueezeNet, arXiv 1602.07360.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from training.data.pictures import Pictures, read_split
from training.data.sources import ArchiveSource
from training.errors import CompressionFailed
from training.fitting.callbacks import largest, weights_of
from training.fitting.learner import Learner
from training.fitting.precision import autocast
from training.networks.architecture import EXPANDS, Architecture
from training.networks.models import SqueezeNet

BATCH = 128  # pictures
FACTOR = 1.5  # of filters, where a layer is widened

Curve = tuple[tuple[float, float], ...]  # density and rise of the loss in nats, from 1 downwards


@dataclass(frozen=True)
class Score:
    """What a network is worth on pictures whose class is known."""

    top1: float  # percent
    loss: float  # cross-entropy, nats


@dataclass(frozen=True)
class Point:
    """One layer pruned to one density, the rest of the network as it was."""

    layer: str
    weights: int  # of the layer, all of them
    density: float
    score: Score


@dataclass(frozen=True)
class Scan:
    """All layers at the same densities, the first of which is 1: nothing pruned."""

    whole: Score
    points: tuple[Point, ...]

    def sizes(self) -> dict[str, int]:
        """Return layer -> number of its weights."""
        return {point.layer: point.weights for point in self.points}

    def densities(self) -> list[float]:
        """Return the densities below 1, falling."""
        return sorted({point.density for point in self.points} - {1.0}, reverse=True)

    def at(self, density: float) -> list[Point]:
        """Return a point for each layer, in the network's order."""
        return [point for point in self.points if point.density == density]

    def drop(self, point: Point) -> float:
        """Return the top-1 that pruning this layer costs, percentage points."""
        return self.whole.top1 - point.score.top1

    def curves(self) -> dict[str, Curve]:
        """Return layer -> density and rise of the loss."""
        return {
            name: tuple(
                (point.density, point.score.loss - self.whole.loss)
                for point in sorted(self.points, key=lambda point: -point.density)
                if point.layer == name
            )
            for name in self.sizes()
        }


@dataclass(frozen=True)
class Widening:
    """A layer that may deserve more filters."""

    layer: str  # as Architecture.widen names it
    drop: float  # of top-1 when it is pruned, percentage points
    added: int  # parameters of the whole network, if it is widened


def validation(learner: Learner, path: str) -> Pictures:
    """Return the validation pictures of an archive with the classes of ``learner``."""
    source = ArchiveSource(path)
    learner.check_classes(source.labels, path)
    return read_split(source, 'val', learner.description.size)


def scan(learner: Learner, pictures: Pictures, densities: Sequence[float]) -> Scan:
    """Prune each convolution alone to each of ``densities``; the weights are as before then."""
    whole = score(learner, pictures)
    sizes = {name: weight.numel() for name, weight in weights_of(learner).items()}
    points = [Point(name, size, 1.0, whole) for name, size in sizes.items()]
    cases = [(name, density) for name in sizes for density in sorted({*densities} - {1.0})]
    for name, density in tqdm(cases, 'pruning', unit=' networks', disable=None):
        with pruned(learner, {name: density}):
            points.append(Point(name, sizes[name], density, score(learner, pictures)))
    return Scan(whole, tuple(points))


@contextmanager
def pruned(learner: Learner, densities: Mapping[str, float]) -> Iterator[None]:
    """Prune these layers by magnitude for a while, then restore their weights exactly."""
    weights = weights_of(learner)
    exact = {name: weights[name].detach().clone() for name in densities}
    with torch.no_grad():
        try:
            for name, density in densities.items():
                weights[name].mul_(largest(weights[name], density))
            yield
        finally:
            for name, weight in exact.items():
                weights[name].copy_(weight)


@torch.no_grad()
def score(learner: Learner, pictures: Pictures) -> Score:
    """Classify all pictures, in bf16 where the machine is faster in it."""
    device = learner.device
    right, loss = 0, 0.0
    with autocast(learner):
        for images, targets in zip(
            pictures.images.split(BATCH), pictures.targets.split(BATCH), strict=True
        ):
            truth = targets.to(device)
            logits = learner(images.to(device))
            right += int((logits.argmax(dim=1) == truth).sum())
            loss += float(cross_entropy(logits, truth, reduction='sum'))
    return Score(100 * right / len(pictures), loss / len(pictures))


def choose(found: Scan, overall: float) -> dict[str, float]:
    """
    Return the density of each layer for an ``overall`` share of the weights.

    They are those of the least summed rise of the loss, assuming that the rises of layers pruned
    alone add up when they are pruned together. Each layer's curve is replaced by its lower convex
    hull; of all pieces of all hulls those are pruned first that cost least for each weight, until
    no more than ``overall`` is left, the last in part. With hulls that greedy choice is the
    optimum: all layers end at the same slope, which is the Lagrange multiplier. Source:
    Shoham and Gersho, Efficient bit allocation for an arbitrary set of quantizers, 1988.

    Raises CompressionFailed for a share below the lowest density.
    """
    sizes = found.sizes()
    check_reachable(overall, found.densities())
    pieces = [
        (_slope(before, after) / sizes[name], name, before[0] - after[0])
        for name, curve in found.curves().items()
        for before, after in pairwise(hull(curve))
    ]
    chosen = dict.fromkeys(sizes, 1.0)
    left = (1 - overall) * sum(sizes.values())  # to prune
    for _, name, length in sorted(pieces, key=lambda piece: piece[0]):
        share = min(length, left / sizes[name])
        chosen[name] -= share
        left -= share * sizes[name]
    return chosen


def check_reachable(overall: float, densities: Sequence[float]) -> None:
    """Raise CompressionFailed where ``densities`` do not go down to ``overall``."""
    lowest = min([1.0, *densities])
    if overall < lowest:
        raise CompressionFailed(
            f'{overall:g} of all weights are fewer than the lowest density scanned, {lowest:g}, '
            'leaves; scan lower ones too with --densities'
        )


def hull(curve: Curve) -> list[tuple[float, float]]:
    """Return the points of ``curve`` that lie on its lower convex hull, in its order."""
    kept: list[tuple[float, float]] = []
    for point in curve:
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) >= _slope(kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def _slope(before: tuple[float, float], after: tuple[float, float]) -> float:
    return (after[1] - before[1]) / (before[0] - after[0])


def widenings(found: Scan, density: float, architecture: Architecture) -> list[Widening]:
    """
    Return the expand layers whose pruning costs top-1, the most for each parameter first.

    Parameters are those that ``FACTOR`` times the filters add: the next layers' inputs too.
    """
    now = _parameters(architecture)
    rows = []
    for point in found.at(density):
        layer = point.layer.removeprefix('fires.')
        if layer.split('.')[-1] in EXPANDS and found.drop(point) > 0:
            more = replace(architecture, widen=widened(architecture, [layer]))
            rows.append(Widening(layer, found.drop(point), _parameters(more) - now))
    return sorted(rows, key=lambda row: -row.drop / row.added)


def widened(architecture: Architecture, layers: Sequence[str]) -> dict[str, float]:
    """Return ``widen`` of an architecture whose ``layers`` have ``FACTOR`` times the filters."""
    before = architecture.widen
    return {**before, **{layer: FACTOR * before.get(layer, 1.0) for layer in layers}}


def _parameters(architecture: Architecture) -> int:
    with torch.device('meta'):  # shapes only
        return sum(p.numel() for p in SqueezeNet(architecture).parameters())
