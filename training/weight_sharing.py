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
Make a model file small as Deep Compression does: prune, let weights share values, tune those.

Each layer keeps its largest weights; those it keeps take one of a few values, found by k-means.
Without labels the values are then tuned so that the answers to some 250 pictures stay as they
were. This is the peer of training.compress, which gives smaller files and int8 inference.

Source: Han et al., Deep Compression, arXiv 1510.00149, sections 2 to 4.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

from sqz_perception.inference.options import count
from sqz_perception.model import codec
from sqz_perception.model.network import Model
from training.compression.centroids import tune
from training.compression.weight_sharing import BITS, EPOCHS, deep_compress, densities
from training.model_files.reference import self_test
from training.reporting import calibration, command
from training.reporting.command import density

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
