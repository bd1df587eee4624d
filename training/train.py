# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Train a SqueezeNet from a recipe in YAML.

Any value of the recipe can be given on the command line instead. A run leaves in its folder
(``--trainer.default_root_dir``) its configuration, metrics.csv, curves.png, some pictures as it
sees them (pictures.png) and two checkpoints, ``best`` and ``last``; ``--ckpt_path`` goes on from
one of them. It computes in bf16 where the processor or the GPU has that, unless
``--trainer.precision`` says otherwise. Under torchrun several processes share each step's
pictures: with gloo on CPUs, nccl on GPUs. Each normalises its own share; the checkpoint has the
first one's means and variances.
"""

from __future__ import annotations

import logging
import signal
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
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from sqz_perception.errors import CheckpointInvalid, DataError
from training import command, interrupt, precision, processes
from training.architecture import Architecture
from training.data import PictureData
from training.export import load_description
from training.first_batch import FirstBatch
from training.learner import Learner

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
      --trainer.callbacks+=training.callbacks.PruneCallback --trainer.callbacks.density 0.33
  python -m training.train --config training/recipes/finetune.yaml --data.path photos.zip \\
      --model.start imagenet.sqz

then:
  python -m training.export runs/cifar10/best.ckpt -o cifar10.sqz --name my-net --release 1
"""

# Of a checkpoint's description: what a run that goes on from it has too, beside the architecture.
SAME = ('baseline', 'color', 'mean', 'std', 'train_from', 'enlarge', 'left_out')


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
        parser.link_arguments('data.left_out', 'model.left_out', apply_on='instantiate')
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
            kwargs['precision'] = precision.of_trainer(self.config.trainer.accelerator)
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


def check_resumable(path: str, description: dict[str, Any]) -> None:
    """Raise CheckpointInvalid where ``path`` is no checkpoint of the network described."""
    found = load_description(path)
    # Of an earlier version, it may say less than this one.
    same = Architecture(**found['architecture']) == Architecture(**description['architecture'])
    if not same or any(found[key] != description[key] for key in SAME):
        raise CheckpointInvalid(
            f'{path} is of another network; resume with the recipe that it was trained with'
        )


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
    """
    Train what is prepared and draw how it went.

    Ctrl-C ends it between two batches, by KeyboardInterrupt; SIGTERM by SIGTERMException.
    """
    if cli.config.ckpt_path:
        check_resumable(cli.config.ckpt_path, cli.model.description)
    try:
        with interrupt.deferred() as waiting:
            cli.trainer.callbacks.append(interrupt.EndBetweenBatches(waiting))
            cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path)
    except SIGTERMException:  # a SystemExit too
        raise
    except SystemExit:  # Lightning's answer to KeyboardInterrupt
        raise KeyboardInterrupt from None
    if cli.trainer.is_global_zero and cli.metrics.exists():
        from training import plots

        plots.curves(cli.metrics, cli.metrics.with_name('curves.png'))


def quiet() -> None:
    """Keep from people what Lightning and PyTorch say beside the progress."""
    logging.getLogger('pytorch_lightning').setLevel(logging.WARNING)
    warnings.filterwarnings('ignore', module='pytorch_lightning|lightning_fabric')
    # A recorded network (training.cuda_graph) was recorded on another stream: no harm, they wait.
    warnings.filterwarnings('ignore', message="The AccumulateGrad node's stream does not match")


class _Help(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Leaves the examples as they are written."""


def _ended_by(how: signal.Signals) -> int:
    processes.report(f'ended by {how.name}; --ckpt_path with last.ckpt goes on')
    return 128 + how


def main() -> int:
    """Run the command; errors in one line."""
    quiet()
    try:
        train()
    except SIGTERMException:  # which would end with 0, as if the run were done
        return _ended_by(signal.SIGTERM)
    except KeyboardInterrupt:
        return _ended_by(signal.SIGINT)
    except MisconfigurationException as error:
        return command.failed(DataError(str(error)), processes.report)
    except Exception as error:  # the edge of the command
        if isinstance(error, RuntimeError) and processes.lost(error):
            error = DataError('another training process exited; see its error above')
        return command.failed(error, processes.report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
