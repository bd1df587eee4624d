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
Make a model file small, and its small integers the weights of a fast int8 network.

No training: some 250 pictures, of any kind that the network is made for and without labels, show
what each layer takes and how much the answer depends on it. One number, the trade, says how much
of the answer a bit is worth; it settles the steps of all layers and every rounding.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sqz_perception.model import codec, file
from sqz_perception.model.network import Model
from training.compression.activations import logits
from training.compression.compressor import Compressor
from training.compression.ranges import rounding
from training.errors import CompressionFailed
from training.evaluation.outcome import divergence, truth
from training.model_files.torch_network import TorchNetwork
from training.reporting import calibration, command

EXAMPLES = """\
examples:
  python -m training.compress squeezenet.sqz -o small.sqz --calibration PHOTOS.zip
  python -m training.compress squeezenet.sqz -o small.sqz --calibration PHOTOS.zip \\
      --target-bytes 350000
  python -m training.compress runs/mine.sqz -o small.sqz --calibration DATA.zip --max-loss 0.5 \\
      --release 2 --plot layers.png

then:
  python -m training.evaluate small.sqz --against squeezenet.sqz --images OTHER_PHOTOS.zip
"""
TRADE = 1.5e-7  # nats of divergence for a bit, the default
TRADES = (1e-12, 1e-3)  # where a search looks
TRIES = 10  # of a search, at most
CLOSE = 0.003  # a search for a size ends this near, as a share of it
NARROW = 0.05  # a search ends where the trade is known as near as this, in logarithms
ROUNDING = 1e-9  # points; a loss of just what is allowed is allowed
FAR = 2.0  # how far a search looks ahead, in logarithms
HELD_OUT = 4  # for --max-loss, one picture in so many is only measured on


def within_bytes(compressor: Compressor, target: int) -> Model:
    """Return the model that loses least in at most ``target`` bytes. Raises CompressionFailed."""

    def excess(model: Model) -> float:
        size = len(file.encode(model))
        print(f'tried: {size:,} bytes', flush=True)  # a search of a long while, into a log too
        return (size - target) / target

    _, small = _sides(compressor, excess, CLOSE)
    if small is None:
        least = file.encode(compressor.compress(TRADES[1]))
        raise CompressionFailed(
            f'{target:,} bytes can not be reached; {len(least):,} are about the fewest'
        )
    return small


def within_loss(compressor: Compressor, loss: Callable[[Model], float], most: float) -> Model:
    """Return the smallest model whose ``loss`` is at most ``most``. Raises CompressionFailed."""

    def spare(model: Model) -> float:
        lost = loss(model)
        print(f'tried: {lost:.2f} points lost in {len(file.encode(model)):,} bytes', flush=True)
        return most - lost + ROUNDING

    good, _ = _sides(compressor, spare, 0.0)
    if good is None:
        raise CompressionFailed(f'more than {most} points are lost at any size; allow for more')
    return good


def _sides(
    compressor: Compressor, excess: Callable[[Model], float], close: float
) -> tuple[Model | None, Model | None]:
    """
    Return the models before and after the trade at which ``excess`` falls below zero.

    Either is None where the search, which begins at TRADE, leaves TRADES without finding it. It
    ends early where the second's excess is less than ``close`` below zero.
    """
    before: tuple[float, float, Model | None] = (math.log(TRADES[0]), math.inf, None)
    after: tuple[float, float, Model | None] = (math.log(TRADES[1]), -math.inf, None)
    at = math.log(TRADE)
    for _ in range(TRIES):
        model = compressor.compress(math.exp(at))
        found = at, excess(model), model
        before, after = (found, after) if found[1] > 0 else (before, found)
        if after[1] > -close or after[0] - before[0] < NARROW:
            break
        at = _between(before[:2], after[:2])
    return before[2], after[2]


def _between(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return where to look next: on the straight line between two points, not too near either."""
    (left, above), (right, below) = before, after
    if math.isinf(above) and math.isinf(below):
        return (left + right) / 2
    if math.isinf(above):
        return max(left, right - FAR)
    if math.isinf(below):
        return min(right, left + FAR)
    share = above / (above - below) if above > below else 0.5
    return left + (right - left) * min(max(share, 0.1), 0.9)


def points_lost(
    model: Model, pictures: NDArray[np.uint8], classes: Sequence[int]
) -> Callable[[Model], float]:
    """Return what tells how many points of top-1 or top-5, the worse, a compressed model lost."""
    truths = torch.tensor(classes)[:, None]

    def right(of: Model) -> torch.Tensor:
        ranked = answers(of, pictures).topk(min(5, len(model.labels))).indices == truths
        return torch.stack((ranked[:, 0], ranked.any(dim=1))).double().mean(dim=1)

    before = right(model)
    return lambda compressed: float(100 * (before - right(compressed)).max())


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.compress', __doc__ or '', EXAMPLES)
    calibration.add_arguments(parser)
    goal = parser.add_mutually_exclusive_group()
    goal.add_argument(
        '--target-bytes', type=command.at_least_one, metavar='N', help='of the whole file, at most'
    )
    goal.add_argument(
        '--max-loss',
        type=positive,
        metavar='POINTS',
        help='of top-1 and of top-5, at most, on a quarter of the pictures; they need their class',
    )
    goal.add_argument(
        '--trade',
        type=positive,
        default=TRADE,
        metavar='NATS',
        help='divergence that saving a bit is worth (default: %(default)s)',
    )
    parser.add_argument(
        '--plot', type=Path, metavar='PNG', help='bits of each layer, as a picture'
    )
    return command.run(_compress, parser.parse_args(arguments))


def positive(text: str) -> float:
    """Return a number above zero; what argparse calls."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f'{text} is not above zero')
    return value


def _compress(options: argparse.Namespace) -> None:
    if options.plot:
        command.check_folder(options.plot)
    model, names, pictures = calibration.read(options)
    compressed = _goal(model, names, pictures, options)
    command.save(compressed, options.output)
    print(_summary(model, compressed, pictures))
    if options.plot:
        plot_layers(compressed, options.plot)


def _goal(
    model: Model, names: Sequence[str], pictures: NDArray[np.uint8], options: argparse.Namespace
) -> Model:
    """Return the compressed model that was asked for."""
    if options.max_loss:
        held = np.arange(len(names)) % HELD_OUT == 0
        classes = truth([name for name, out in zip(names, held, strict=True) if out], model.labels)
        loss = points_lost(model, pictures[held], classes)
        return within_loss(Compressor(model, pictures[~held]), loss, options.max_loss)
    compressor = Compressor(model, pictures)
    if options.target_bytes is not None:
        return within_bytes(compressor, options.target_bytes)
    return compressor.compress(options.trade)


def answers(model: Model, pictures: NDArray[np.uint8]) -> torch.Tensor:
    """Return the logits (N, classes) of ``model`` in the arithmetic that it is for."""
    return logits(TorchNetwork(model), pictures, rounding(model))


def _summary(model: Model, compressed: Model, pictures: NDArray[np.uint8]) -> str:
    before, after = (answers(one, pictures) for one in (model, compressed))
    same = 100 * (before.argmax(1) == after.argmax(1)).double().mean()
    far = divergence(before.numpy(), after.numpy())
    return (
        f'on the {len(pictures)} pictures, in int8: divergence {far:.4f} nats, '
        f'the same first class on {same:.1f} %'
    )


def plot_layers(model: Model, path: Path) -> None:
    """Draw the bits of each weight, and the kilobytes, layer by layer."""
    import matplotlib.pyplot as plt

    names = [node.name for node in model.convolutions]
    weights = [model.tensors[node.weight].values for node in model.convolutions]
    bits = [codec.costs(levels).sum() for levels in weights]
    figure, (upper, lower) = plt.subplots(2, sharex=True, figsize=(9, 6), layout='constrained')
    upper.bar(names, [b / w.size for b, w in zip(bits, weights, strict=True)])
    upper.set_ylabel('bits a weight')
    lower.bar(names, [b / 8000 for b in bits], color='tab:orange')
    lower.set_ylabel('kB')
    lower.tick_params(axis='x', rotation=90)
    figure.suptitle(f'{model.name}: {sum(bits) / 8000:.0f} kB of weights')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f'{path}: bits by layer')


if __name__ == '__main__':
    sys.exit(main())
