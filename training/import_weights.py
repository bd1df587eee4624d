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
Make a model file from weights that others have published.

deep-compressed: the SqueezeNet v1.0 of the Deep Compression authors, a .net file.
torchvision: the pretrained SqueezeNet v1.0 or v1.1 that torchvision downloads.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sqz_perception.model.network import InputSpec, Model
from training.errors import ImportFailed
from training.model_files import deep_compressed
from training.model_files.assemble import Identity
from training.reporting import command

if TYPE_CHECKING:
    from training.networks.models import SqueezeNet

EXAMPLES = """\
examples:
  python -m training.import_weights deep-compressed squeezenet.net --labels labels.txt \\
      --dtype codebook -o squeezenet.sqz
  python -m training.import_weights torchvision squeezenet1_1 -o squeezenet1_1.sqz

then:
  python -m sqz_perception verify squeezenet1_1.sqz
  python -m training.evaluate squeezenet1_1.sqz --images PHOTOS.zip
"""
DEEP_COMPRESSED = Identity(
    'squeezenet1_0-imagenet',
    licence='BSD-2-Clause',
    description='SqueezeNet v1.0 for ImageNet, as published with Deep Compression',
)
TORCHVISION = ('squeezenet1_0', 'squeezenet1_1')
# What torchvision's weights expect, times 255: photos cut to 224 of a short side of 256, in RGB.
TORCHVISION_SIZE, TORCHVISION_RESIZE = 224, 256  # pixels
TORCHVISION_MEAN = (123.675, 116.28, 103.53)
TORCHVISION_STD = (58.395, 57.12, 57.375)


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Return the labels in a text file, one a line, after a BOM or none. Raises ImportFailed."""
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ImportFailed(f'{path}: {error}; give a text file with one label a line') from error
    labels = tuple(line.strip() for line in lines)
    if len(labels) != classes or not all(labels):
        raise ImportFailed(
            f'{path}: {sum(map(bool, labels)):,} labels in {len(labels):,} lines; '
            f'{classes:,} are needed, one a line'
        )
    return distinct(labels)


def distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``labels`` with the class's number behind each that two classes have."""
    times = Counter(labels)
    return tuple(
        f'{label} ({number})' if times[label] > 1 else label for number, label in enumerate(labels)
    )


def torchvision_model(
    net: SqueezeNet, labels: tuple[str, ...], identity: Identity, dtype: str = 'float16'
) -> Model:
    """Return ``net``, with torchvision's weights in it, as a model with their preprocessing."""
    from training.model_files.checkpoints import to_model

    scale = (1 / TORCHVISION_STD[0], 1 / TORCHVISION_STD[1], 1 / TORCHVISION_STD[2])
    side = TORCHVISION_SIZE
    spec = InputSpec(side, side, TORCHVISION_RESIZE, 'rgb', TORCHVISION_MEAN, scale)
    return to_model(net.eval(), spec, labels, identity, dtype)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.import_weights', __doc__ or '', EXAMPLES)
    sources = parser.add_subparsers(required=True, metavar='SOURCE')

    published = sources.add_parser('deep-compressed', help='a .net file of Deep Compression')
    published.set_defaults(run=_import_deep_compressed)
    published.add_argument('weights', metavar='FILE.net', type=Path)
    published.add_argument(
        '--labels',
        metavar='FILE',
        type=Path,
        required=True,
        help='text file with the 1,000 labels, one a line; equal ones get their number',
    )
    command.add_output(published, DEEP_COMPRESSED)

    downloaded = sources.add_parser('torchvision', help="torchvision's pretrained weights")
    downloaded.set_defaults(run=_import_torchvision)
    downloaded.add_argument('network', choices=TORCHVISION)
    command.add_output(downloaded, Identity('squeezenet-imagenet', licence='BSD-3-Clause'))
    downloaded.set_defaults(name=None, description=None)

    options = parser.parse_args(arguments)
    return command.run(options.run, options)


def _import_deep_compressed(options: argparse.Namespace) -> None:
    labels = read_labels(options.labels, deep_compressed.CLASSES)
    layers = deep_compressed.read(options.weights)
    model = deep_compressed.to_model(layers, labels, command.identity(options), options.dtype)
    command.save(model, options.output)


def _import_torchvision(options: argparse.Namespace) -> None:
    from torchvision import models as torchvision_models

    from training.networks.architecture import PRESETS
    from training.networks.models import SqueezeNet, load_torchvision

    weights = torchvision_models.get_model_weights(options.network).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:  # no network; a damaged download
        raise ImportFailed(
            f"{weights.url} can't be downloaded ({error}); go online, or put the file into "
            '~/.cache/torch/hub/checkpoints'
        ) from error
    net = SqueezeNet(PRESETS[options.network])
    load_torchvision(net, state)
    options.name = options.name or f'{options.network}-imagenet'
    options.description = options.description or f'{options.network} of torchvision, for ImageNet'
    labels = tuple(weights.meta['categories'])
    model = torchvision_model(net, labels, command.identity(options), options.dtype)
    command.save(model, options.output)


if __name__ == '__main__':
    sys.exit(main())
