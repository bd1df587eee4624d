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
Prune each layer of a trained network alone, and see what it costs.

Every convolution of a checkpoint loses its smallest weights while the others stay as they were;
top-1 and loss are those of val/. From several densities the command chooses one for each layer,
so that the loss rises least for the weights that are left altogether, and writes them as a
recipe that prunes while training. It takes the rises of all layers to add up, which holds the
less the more is pruned; so it also measures them together, and every layer pruned alike.

It names the expand layers that lose most for their weights: those deserve more filters
(--model.architecture.widen, a new training).

SqueezeNet's early versions chose from such a scan 33 % for expand3x3, 50 % for every other layer
of 1x1 and 20 % for conv10.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from sqz_perception.inference.options import count
from training.data.archive import evenly
from training.data.pictures import Pictures
from training.experiments.sensitivity import (
    FACTOR,
    Point,
    Scan,
    Score,
    check_reachable,
    choose,
    pruned,
    scan,
    score,
    validation,
    widened,
    widenings,
)
from training.fitting.learner import Learner, load
from training.reporting import command
from training.reporting.command import density

EXAMPLES = """\
examples:
  python -m training.prune runs/cifar10/best.ckpt --data cifar10.zip
  python -m training.prune runs/cifar10/best.ckpt --data cifar10.zip --limit 1000 \\
      --densities 0.75 0.5 0.33 0.2 0.1 --target-density 0.33 -o runs/pruning

then:
  python -m training.train --config training/recipes/cifar10.yaml \\
      --config runs/pruning/densities.yaml --data.path cifar10.zip \\
      --ckpt_path runs/cifar10/last.ckpt --trainer.max_epochs 36 \\
      --trainer.default_root_dir runs/pruned
"""
HEAD = """\
# The density of each layer, chosen by python -m training.prune. Prune a trained network so:
#   python -m training.train --config RECIPE.yaml --config THIS.yaml --data.path DATA.zip \\
#       --ckpt_path last.ckpt --trainer.max_epochs MORE_THAN_BEFORE
"""
DENSITY = 0.5
TARGET = 0.33
WIDENED = 3  # layers at most, of those that are suggested
DIGITS = 4  # of a density in the recipe
CSV_DIGITS = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.prune', __doc__ or '', EXAMPLES)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='best.ckpt of training.train')
    parser.add_argument(
        '--data', required=True, metavar='ZIP_OR_FOLDER', help='what the network was trained on'
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        metavar='FOLDER',
        help='for the three files (default: prune/, beside the checkpoint)',
    )
    parser.add_argument(
        '--density',
        type=density,
        default=DENSITY,
        metavar='SHARE',
        help='of the weights that a layer keeps (default: %(default)s)',
    )
    parser.add_argument(
        '--densities',
        type=density,
        nargs='+',
        default=(),
        metavar='SHARE',
        help='more of them, to choose one for each layer; without, no densities.yaml is written',
    )
    parser.add_argument(
        '--target-density',
        type=density,
        metavar='SHARE',
        help=f'of all weights, for densities.yaml (default: {TARGET} where --densities are given)',
    )
    parser.add_argument(
        '--limit', type=count, default=0, help='pictures at most, taken evenly; 0: all'
    )
    return command.run(_prune, parser.parse_args(arguments))


def _prune(options: argparse.Namespace) -> None:
    densities = [options.density, *options.densities]
    target = options.target_density or (TARGET if options.densities else None)
    if target:
        check_reachable(target, densities)
    learner = load(options.checkpoint)
    output = options.output or Path(options.checkpoint).parent / 'prune'
    command.check_folder(output)
    output.mkdir(exist_ok=True)
    pictures = validation(learner, options.data)
    if options.limit:
        pictures = Pictures(*pictures[torch.tensor(evenly(range(len(pictures)), options.limit))])
    learner.to('cuda' if torch.cuda.is_available() else 'cpu')
    found = scan(learner, pictures, densities)
    chosen = choose(found, target) if target else {}
    print(f'{len(pictures):,} pictures, nothing pruned: {_told(found.whole)}')
    print_table(found, chosen)
    if target:
        write_recipe(chosen, target, output / 'densities.yaml')
        for how, one in (('as chosen', chosen), ('all alike', dict.fromkeys(chosen, target))):
            with pruned(learner, one):
                together = score(learner, pictures)
            print(f'every layer pruned, {how}, not trained since: {_told(together)}')
    path = output / 'sensitivity.csv'
    command.write_csv([as_row(found, point) for point in found.points], path)
    print(f'{path}: every layer at every density')
    plot(found, chosen, output / 'sensitivity.png')
    if not learner.config.baseline:
        suggest(found, options.density, learner)


def _told(found: Score) -> str:
    return f'top-1 {found.top1:.2f} %, loss {found.loss:.4f} nats'


def print_table(found: Scan, chosen: Mapping[str, float]) -> None:
    """Print what pruning each layer takes from top-1, in percentage points."""
    densities = found.densities()
    heads = ''.join(f'{density:>8g}' for density in densities)
    print(f'{"layer":26} {"weights":>10} {heads}' + (f' {"chosen":>8}' if chosen else ''))
    rows = zip(*(found.at(density) for density in densities), strict=True)
    for row in rows:
        name = row[0].layer
        drops = ''.join(f'{found.drop(point):8.2f}' for point in row)
        print(
            f'{name:26} {row[0].weights:>10,} {drops}'
            + (f' {chosen[name]:8.3f}' if chosen else '')
        )


def as_row(found: Scan, point: Point) -> command.Row:
    """Return a layer at one density, as a row of the table; density 1 is the network as it is."""
    return {
        'layer': point.layer,
        'weights': point.weights,
        'density': point.density,
        'top1': round(point.score.top1, CSV_DIGITS),
        'loss': round(point.score.loss, CSV_DIGITS),
        'drop': round(found.drop(point), CSV_DIGITS),
    }


def write_recipe(chosen: Mapping[str, float], target: float, path: Path) -> None:
    """Write a part of a recipe that prunes each layer to its density while training."""
    callback = {
        'class_path': 'training.fitting.callbacks.PruneCallback',
        'init_args': {
            'density': target,
            'layers': {name: round(share, DIGITS) for name, share in chosen.items()},
        },
    }
    recipe = yaml.safe_dump({'trainer': {'callbacks': [callback]}}, sort_keys=False)
    path.write_text(HEAD + recipe, encoding='utf-8')
    print(f'{path}: a recipe that leaves {100 * target:g} % of the weights')


def plot(found: Scan, chosen: Mapping[str, float], path: Path) -> None:
    """Draw top-1 with each layer pruned alone, its weights, and the density chosen for it."""
    import matplotlib.pyplot as plt

    sizes = {name.removeprefix('fires.'): size for name, size in found.sizes().items()}
    names, rows = list(sizes), 3 if chosen else 2
    figure, axes = plt.subplots(
        rows,
        sharex=True,
        figsize=(max(8, 0.4 * len(names)), 3 + 2.2 * rows),
        height_ratios=[2] + [1] * (rows - 1),
        layout='constrained',
    )
    axes[0].set_title('One layer pruned alone, by magnitude')
    axes[0].set_ylabel('top-1 on val/, %')
    axes[0].axhline(found.whole.top1, linestyle='--', color='gray', label='nothing pruned')
    colors = plt.get_cmap('plasma')
    for i, kept in enumerate(found.densities()):
        top1 = [point.score.top1 for point in found.at(kept)]
        color = colors(0.8 * i / max(1, len(found.densities()) - 1))
        axes[0].plot(names, top1, 'o-', color=color, alpha=0.8, label=f'density {kept:g}')
    axes[0].legend(fontsize='small')
    axes[1].bar(names, [size / 1000 for size in sizes.values()], color='tab:gray')
    axes[1].set_ylabel('weights, thousands')
    if chosen:
        axes[2].bar(names, list(chosen.values()), color='tab:green')
        axes[2].set_ylabel('density chosen')
        axes[2].set_ylim(0, 1.05)
    axes[-1].tick_params(axis='x', rotation=90)
    axes[-1].set_xlim(-0.7, len(names) - 0.3)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f'{path}: top-1 by layer')


def suggest(found: Scan, density: float, learner: Learner) -> None:
    """Print the expand layers that deserve more filters, most for their weights first."""
    architecture = learner.net.architecture
    rows = widenings(found, density, architecture)[:WIDENED]
    if not rows:
        print(f'no expand layer loses top-1 at {density:g}: none asks for more filters')
        return
    print(f'most sensitive expand layers, for the parameters of {FACTOR} times their filters:')
    for row in rows:
        print(f'  {row.layer:18} -{row.drop:.2f} points at {density:g}, {row.added:+,} parameters')
    widen = widened(architecture, [row.layer for row in rows])
    text = ', '.join(f'{layer}: {factor:g}' for layer, factor in widen.items())
    print(f"  a wider network: --model.architecture.widen '{{{text}}}'")
    if architecture.bypass == 'simple':
        print('  a bypass is left out where its ends differ; --model.architecture.bypass complex')


if __name__ == '__main__':
    sys.exit(main())
