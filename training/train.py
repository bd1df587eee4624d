# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Train a SqueezeNet from a recipe in YAML.

Any value of the recipe can be given on the command line instead. A run leaves in its folder
(``--trainer.default_root_dir``) its configuration, metrics.csv and two checkpoints, ``best`` and
``last``; ``--ckpt_path`` goes on from one of them.
"""

from __future__ import annotations

import logging
import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import DefaultHelpFormatter
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from sqz_perception.errors import CheckpointInvalid, SqzError, TrainingDiverged
from training.data import Batch, PictureData
from training.export import load_checkpoint
from training.models import Architecture, SqueezeNet

EXAMPLES = """examples:
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --trainer.max_epochs 30 --model.learning_rate 0.3 --trainer.default_root_dir runs/long
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --ckpt_path runs/cifar10/last.ckpt
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --trainer.callbacks+=training.callbacks.PruneCallback --trainer.callbacks.density 0.33

then:
  python -m training.export runs/cifar10/best.ckpt -o cifar10.sqz --name my-net --release 1
"""


class Classifier(LightningModule):
    """A SqueezeNet with its preprocessing, its labels and the recipe that trains it."""

    def __init__(
        self,
        architecture: Architecture,
        labels: tuple[str, ...],
        size: int,
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        learning_rate: float = 0.04,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        label_smoothing: float = 0.0,
        warmup: float = 0.0,
    ) -> None:
        """
        Build the network with as many classes as there are labels.

        Args:
            architecture: The network; its number of classes is taken from the labels.
            labels: Names of the classes, from the data.
            size: Height and width of the pictures, pixels, from the data.
            mean: Of red, green and blue, subtracted; 0 to 255.
            std: Of red, green and blue, divided by; 0 to 255.
            learning_rate: The highest; it falls linearly to zero from there.
            momentum: Of SGD with Nesterov's momentum.
            weight_decay: On the weights of convolutions, not on norms and biases.
            label_smoothing: Probability spread over all classes.
            warmup: Share of all steps in which the rate rises from zero.

        """
        super().__init__()
        architecture = replace(architecture, classes=len(labels))
        self.description = {
            'architecture': asdict(architecture),
            'labels': list(labels),
            'size': size,
            'mean': list(mean),
            'std': list(std),
        }
        self.net = SqueezeNet(architecture).to(memory_format=torch.channels_last)
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('scale', 1 / torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.learning_rate, self.momentum, self.warmup = learning_rate, momentum, warmup
        self.weight_decay, self.label_smoothing = weight_decay, label_smoothing
        self.train_top1 = MulticlassAccuracy(len(labels), average='micro')
        self.val_top1 = MulticlassAccuracy(len(labels), average='micro')
        self.val_top5 = MulticlassAccuracy(len(labels), top_k=min(5, len(labels)), average='micro')

    def forward(self, images: Tensor) -> Tensor:
        """Pictures uint8 (N, H, W, 3) in RGB order -> logits float32 (N, classes)."""
        x = images.permute(0, 3, 1, 2)  # (N, 3, H, W), channels last in memory already
        return self.net((x - self.mean) * self.scale).float()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Raise TrainingDiverged where the loss is no longer a number."""
        images, targets = batch
        logits = self(images)
        loss = cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        if not torch.isfinite(loss):
            raise TrainingDiverged(
                f'the loss became {loss.item()} in epoch {self.current_epoch}, step '
                f'{self.global_step}; lower --model.learning_rate or raise --model.warmup'
            )
        self.train_top1(logits, targets)
        self.log('train/loss', loss, on_step=False, on_epoch=True)
        self.log('train/top1', self.train_top1, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss without smoothing, top-1 and top-5."""
        images, targets = batch
        logits = self(images)
        self.val_top1(logits, targets)
        self.val_top5(logits, targets)
        self.log('val/loss', cross_entropy(logits, targets))
        self.log('val/top1', self.val_top1, prog_bar=True)
        self.log('val/top5', self.val_top5)

    def configure_optimizers(self) -> dict[str, Any]:
        """SGD with Nesterov's momentum; the rate rises and falls linearly."""
        decayed = [p for p in self.parameters() if p.ndim > 1]
        others = [p for p in self.parameters() if p.ndim <= 1]
        optimizer = torch.optim.SGD(
            [
                {'params': decayed, 'weight_decay': self.weight_decay},
                {'params': others, 'weight_decay': 0.0},
            ],
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.momentum > 0,
            fused=True,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        share = partial(rate_share, steps=steps, warmup=self.warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': schedule, 'interval': 'step'},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put beside the weights, as plain values, all that it takes to export them."""
        checkpoint['sqz_perception'] = self.description


def rate_share(step: int, *, steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate at ``step``: a rise, then a fall to zero."""
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return max(0.0, (steps - step) / max(1, steps - rise))


class Cli(LightningCLI):
    """Lightning's command line with the labels taken from the data and a folder for the run."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what is ours."""
        parser.add_argument(
            '--ckpt_path',
            type=str | None,
            default=None,
            help='checkpoint to go on from, for example last.ckpt',
        )
        parser.link_arguments('data.labels', 'model.labels', apply_on='instantiate')
        parser.link_arguments('data.size', 'model.size')
        parser.link_arguments('seed_everything', 'data.seed')

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Checkpoints and metrics.csv lie in default_root_dir itself, under plain names."""
        chosen = self.config_init.trainer.callbacks or []
        root = self.config.trainer.default_root_dir or 'runs/latest'
        keep_metrics(Path(root))
        best = ModelCheckpoint(
            root, filename='best', monitor='val/top1', mode='max', enable_version_counter=False
        )
        last = ModelCheckpoint(root, filename='last', enable_version_counter=False)
        return super().instantiate_trainer(
            logger=CSVLogger(root, name='', version=''),
            callbacks=[*chosen, best, last, LearningRateMonitor('epoch'), TQDMProgressBar(10)],
            **kwargs,
        )


def keep_metrics(root: Path) -> None:
    """Set the metrics of an earlier run aside; the logger would delete them."""
    metrics = root / 'metrics.csv'
    if metrics.exists():
        earlier = len(list(root.glob('metrics.*.csv')))
        metrics.rename(root / f'metrics.{earlier + 1}.csv')


def check_resumable(path: str, net: SqueezeNet) -> None:
    """Raise CheckpointInvalid where ``path`` is no checkpoint of a network like ``net``."""
    found = load_checkpoint(path).net.architecture
    if found != net.architecture:
        raise CheckpointInvalid(
            f'{path} is of another network; resume with the recipe that it was trained with'
        )


def train(args: ArgsType = None) -> LightningCLI:
    """Train as the command line, or ``args``, says."""
    torch.set_float32_matmul_precision('high')
    cli = Cli(
        Classifier,
        PictureData,
        run=False,
        args=args,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        save_config_kwargs={'overwrite': True},
        parser_kwargs={
            'prog': 'python -m training.train',
            'usage': '%(prog)s --config RECIPE.yaml --data.path ZIP_OR_FOLDER [options]',
            'description': __doc__,
            'epilog': EXAMPLES,
            'formatter_class': _Help,
        },
    )
    if cli.config.ckpt_path:
        check_resumable(cli.config.ckpt_path, cli.model.net)
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)
    return cli


class _Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the examples as they are written."""


def main() -> int:
    """Run the command; errors in one line."""
    logging.getLogger('pytorch_lightning').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', module='pytorch_lightning|lightning_fabric')
    try:
        train()
    except (SqzError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
