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
Train a SqueezeNet from a recipe in YAML.

Any value of the recipe can be given on the command line instead. A run leaves in its folder
(``--trainer.default_root_dir``) its configuration, metrics.csv, curves.png, some pictures as it
sees them (pictures.png) and two checkpoints, ``best`` and ``last``; ``--ckpt_path`` goes on from
one of them. It times a step in bf16 and in fp32 and computes in the faster, unless
``--trainer.precision`` says otherwise. Under torchrun several processes share each step's
pictures: with gloo on CPUs, nccl on GPUs. Each normalises its own share; the checkpoint has the
first one's means and variances.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

import torch
from jsonargparse import DefaultHelpFormatter
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from training.data.module import PictureData
from training.errors import DataError, TrainingError
from training.fitting import precision, processes
from training.fitting.learner import Learner
from training.model_files.checkpoints import load_content
from training.reporting import command
from training.reporting.first_batch import FirstBatch

EXAMPLES = """examples:
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --trainer.max_epochs 30 --model.learning_rate 0.3 --trainer.default_root_dir runs/long
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --ckpt_path runs/cifar10/last.ckpt
  python -m training.train --config training/recipes/cifar10.yaml \\
      --data.source cifar10 --data.path FOLDER_OF_CIFAR_10_BATCHES_PY
  torchrun --nproc-per-node 2 -m training.train --config training/recipes/cifar10.yaml \\
      --data.path cifar10.zip
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --trainer.callbacks+=training.fitting.callbacks.PruneCallback \\
      --trainer.callbacks.density 0.33
  python -m training.train --config training/recipes/finetune.yaml --data.path photos.zip \\
      --model.start imagenet.sqz

then:
  python -m training.export runs/cifar10/best.ckpt -o cifar10.sqz --name my-net --release 1
"""


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
        self.metrics = Path(root) / 'metrics.csv'
        keep_metrics(Path(root))
        best = ModelCheckpoint(
            root, filename='best', monitor='val/top1', mode='max', enable_version_counter=False
        )
        last = ModelCheckpoint(root, filename='last', enable_version_counter=False)
        bar = [] if self.config.trainer.enable_progress_bar is False else [TQDMProgressBar(10)]
        logger = self.config_init.trainer.logger
        if self.config.trainer.precision is None:
            kwargs['precision'] = precision.of_trainer(self.model, self.config.trainer.accelerator)
        return super().instantiate_trainer(
            logger=[CSVLogger(root, name='', version=''), *([logger] if logger else [])],
            callbacks=[
                *chosen,
                best,
                last,
                LearningRateMonitor('epoch'),
                FirstBatch(Path(root) / 'pictures.png'),
                *bar,
            ],
            use_distributed_sampler=False,  # the data has its own
            **processes.settings(),
            **kwargs,
        )


@rank_zero_only
def keep_metrics(root: Path) -> None:
    """Set the metrics of an earlier run aside; the logger would delete them."""
    metrics = root / 'metrics.csv'
    if metrics.exists():
        earlier = len(list(root.glob('metrics.*.csv')))
        metrics.rename(root / f'metrics.{earlier + 1}.csv')


def train(args: ArgsType = None) -> Cli:
    """Train as the command line, or ``args``, says."""
    cli = prepared(args)
    fit(cli)
    return cli


def prepared(args: ArgsType = None, **parser: Any) -> Cli:
    """Return data, network and trainer as the command line, or ``args``, says."""
    torch.set_float32_matmul_precision('high')
    try:
        return _cli(args, parser)
    except UnicodeDecodeError as error:
        raise DataError(
            'an option that takes a YAML file was given another one; recipes are given with '
            '--config, pictures with --data.path, a model file with --model.start'
        ) from error


def _cli(args: ArgsType, parser: dict[str, Any]) -> Cli:
    return Cli(
        Learner,
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
            **parser,
        },
    )


def fit(cli: Cli) -> None:
    """Train what is prepared and draw how it went; raise KeyboardInterrupt where it is ended."""
    if cli.config.ckpt_path:
        found = load_content(cli.config.ckpt_path)['sqz_perception']
        cli.model.description.check_same_network(found, cli.config.ckpt_path)
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)
    except SystemExit as error:  # Lightning's answer to Ctrl-C and to SIGTERM
        raise KeyboardInterrupt('--ckpt_path with last.ckpt goes on') from error
    if cli.trainer.is_global_zero and cli.metrics.exists():
        from training.reporting import plots

        plots.curves(cli.metrics, cli.metrics.with_name('curves.png'))


def quiet() -> None:
    """Keep from people what Lightning and PyTorch say beside the progress."""
    logging.getLogger('pytorch_lightning').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', module='pytorch_lightning|lightning_fabric')


class _Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the examples as they are written."""


def _train(_: argparse.Namespace) -> None:
    try:
        train()
    except MisconfigurationException as error:
        raise TrainingError(str(error)) from error
    except RuntimeError as error:
        if not processes.lost(error):
            raise
        raise TrainingError('another training process exited; see its error above') from error


def main() -> int:
    """Run the command; errors in one line."""
    quiet()
    return command.run(_train, argparse.Namespace(), processes.report)


if __name__ == '__main__':
    sys.exit(main())
