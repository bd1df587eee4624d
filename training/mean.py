# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
The mean of weights that lie close together, which is often better than each of them.

As a callback of training.train it ends a run with the mean of the weights that the run passes at a
constant rate. As a command it takes the mean of several such runs, all begun with one network,
and measures anew, on training pictures, the means and variances that the norms take out.

Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization, arXiv
1803.05407; of several runs: Gupta et al., Stochastic Weight Averaging in Parallel, 2001.02312.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from tqdm import tqdm

from sqz_perception.errors import CheckpointInvalid, TrainingError
from training import command
from training.augmentation import Augmentation, add_options, change, draw, of_options
from training.learner import Learner, load
from training.order import seeded
from training.pictures import read_split
from training.sources import SOURCES
from training.start import freeze

EXAMPLES = """\
examples:
  python -m training.train --config training/recipes/taught.yaml --data.path cifar10.zip \\
      --model.start runs/taught/last.ckpt --model.learning_rate 0.003 --trainer.max_epochs 3 \\
      --trainer.callbacks+=training.mean.MeanCallback --trainer.default_root_dir runs/first
  python -m training.mean runs/first/last.ckpt runs/second/last.ckpt --data cifar10.zip \\
      -o runs/mean.ckpt

then:
  python -m training.export runs/mean.ckpt -o mean.sqz --name my-net
"""

BATCH = 500  # pictures


class MeanCallback(WeightAveraging):
    """
    Holds the rate and keeps the mean of the weights; that is what is validated and kept.

    The means and variances of the norms are averaged with them.
    """

    def __init__(self, after: int = 100, every: int = 5) -> None:
        """
        Average from a step on.

        :param after: Steps in which the rate rises from zero; the mean begins then.
        :param every: Steps from one of the weights that are averaged to the next.
        """
        super().__init__()
        if after < 0 or every < 1:
            raise TrainingError(f'after {after} must be at least 0, every {every} at least 1')
        self.after, self.every = after, every

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Tell whether the weights after this step belong to the mean."""
        past = -1 if step_idx is None else step_idx - self.after
        return past >= 0 and past % self.every == 0

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Hold the rate, which the recipe would let fall."""
        share = min(1.0, (trainer.global_step + 1) / (self.after + 1))
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group['lr'] = group['initial_lr'] * share

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise TrainingError where the run would be over before the mean begins."""
        steps = int(trainer.estimated_stepping_batches)
        if steps <= self.after:
            raise TrainingError(
                f'the run has {steps} steps, and the mean begins after {self.after}; raise '
                '--trainer.max_epochs or lower --trainer.callbacks.after'
            )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.mean', __doc__ or '', EXAMPLES)
    parser.add_argument('runs', nargs='+', metavar='CKPT', help='checkpoints of training.train')
    parser.add_argument('--data', required=True, metavar='ZIP_OR_FOLDER')
    parser.add_argument('--source', default='archive', choices=SOURCES, help='what --data is')
    parser.add_argument(
        '--pictures', type=command.at_least_one, default=10000, help='to measure (default: 10000)'
    )
    add_options(parser)
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='OUT.ckpt')
    return command.run(_write_mean, parser.parse_args(arguments))


def _write_mean(options: argparse.Namespace) -> None:
    command.check_folder(options.output)
    learners = [load(path) for path in options.runs]
    first = learners[0]
    for path, learner in zip(options.runs, learners, strict=True):
        if learner.description != first.description:
            raise CheckpointInvalid(
                f'{path} is of another network than {options.runs[0]}, or for other pictures; '
                'give runs of one'
            )
    source, size = SOURCES[options.source](options.data), first.description['size']
    first.check_classes(source.labels, options.data)
    how = of_options(options, size)
    first.load_state_dict(mean([learner.state_dict() for learner in learners]))
    images = read_split(source, 'train', size).images
    measure_norms(first, _changed(images, how, options.pictures))
    with command.replacing(options.output) as new:
        torch.save({'state_dict': first.state_dict(), 'sqz_perception': first.description}, new)
    print(f'{options.output}: the mean of {len(learners)} checkpoints')


def _changed(images: Tensor, how: Augmentation, most: int) -> Iterator[Tensor]:
    """Yield so many pictures, chosen at random, in batches, as training sees them."""
    changes = draw(len(images), images.shape[1], how, epoch=0)
    order = torch.randperm(len(images), generator=seeded(how.seed, 0))[:most]
    batches = order.split(BATCH)
    for which in tqdm(batches, 'measuring', unit=f' x {BATCH} pictures'):
        yield change(images[which], which, changes, images)


@torch.no_grad()
def measure_norms(learner: Learner, batches: Iterable[Tensor]) -> None:
    """
    Give the norms that were trained the mean and variance of all ``batches``, each alike.

    Pictures are uint8 (N, H, W, 3). Norms of frozen layers keep what they have.
    torch.optim.swa_utils.update_bn would measure all.
    """
    if first := learner.description['train_from']:
        learner.frozen = freeze(learner.net, first)
    norms = [
        layer
        for layer in learner.net.modules()
        if isinstance(layer, nn.BatchNorm2d) and layer.weight.requires_grad
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all, not of the last
    learner.train()
    for images in batches:
        learner(images)
    learner.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def mean(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of networks' values by name; what is counted is the first one's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }


if __name__ == '__main__':
    sys.exit(main())
