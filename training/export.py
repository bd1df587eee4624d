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
Write a trained network as a model file that a robot runs.

Batch norm is folded into the convolution before it, so the file holds plain convolutions.
"""

from __future__ import annotations

import argparse
import sys

from sqz_perception.model import file
from training.model_files.checkpoints import load_checkpoint, to_model
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.export runs/cifar10/best.ckpt -o cifar10.sqz --name my-net
  python -m training.export runs/cifar10/best.ckpt -o cifar10.sqz --name my-net --release 2 \\
      --licence Apache-2.0 --description "ten classes of small pictures"
  python -m training.export runs/finetune/best.ckpt -o mine.sqz --name mine --base imagenet.sqz

then:
  python -m sqz_perception verify cifar10.sqz
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.export', __doc__ or '', EXAMPLES)
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='best.ckpt of training.train')
    command.add_output(parser)
    parser.add_argument(
        '--base',
        metavar='BASE.sqz',
        help='a model file; layers that still have its values are stored as they are there',
    )
    return command.run(_export, parser.parse_args(arguments))


def _export(options: argparse.Namespace) -> None:
    trained = load_checkpoint(options.checkpoint)
    base = file.read(options.base).tensors if options.base else None
    identity = command.identity(options)
    model = to_model(trained.net, trained.spec, trained.labels, identity, options.dtype, base)
    command.save(model, options.output)


if __name__ == '__main__':
    sys.exit(main())
