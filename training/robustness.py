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
How much a model still has right where a robot's pictures differ from those it learned from.

Things are nearer or turned, the light is another, the lens is out of focus, the sensor is noisy:
each picture is changed so, at the size that the network sees it in, and the model runs as on the
robot. Which pictures, and what their classes are, is as in training.evaluate. Several models are
shown the same pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from sqz_perception.inference import classifier
from sqz_perception.inference.options import runtime
from training.data.archive import Archive
from training.evaluation.outcome import add_options, check_labels
from training.evaluation.robustness import CHANGES, Right, mean, measure
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.robustness models/cifar10.sqz --images cifar10.zip
  python -m training.robustness models/cifar10.sqz --images cifar10.zip --plot robustness.png
  python -m training.robustness before.sqz after.sqz --images PHOTOS.zip --limit 500
  python -m training.robustness imagenet.sqz --images PHOTOS.zip --json | jq '.[].turn'
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.robustness', __doc__ or '', EXAMPLES)
    parser.add_argument('models', nargs='+', metavar='MODEL.sqz')
    parser.add_argument('--json', action='store_true', help='print one line of JSON')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='draw the curves of all models')
    add_options(parser)
    return command.run(_robustness, parser.parse_args(arguments))


def _robustness(options: argparse.Namespace) -> None:
    if options.plot:
        command.check_folder(options.plot)
    archive = Archive(options.images)
    models = [classifier.load(path, runtime(options)) for path in options.models]
    for path, model in zip(options.models, models, strict=True):
        check_labels(path, model, options.models[0], models[0])
    found = {
        path: measure(model, archive, options.limit)
        for path, model in zip(options.models, models, strict=True)
    }
    if options.plot:
        from training.reporting import plots

        plots.robustness(CHANGES, found, options.plot)
    if options.json:
        print(json.dumps(found))
        return
    print(*table(found), sep='\n')


def table(found: Mapping[str, Right]) -> list[str]:
    """Return the lines of a table for people: percent right, a block for each change."""
    heads = {change: f'{change.name}, {change.unit}' for change in CHANGES}
    width = max(map(len, (*heads.values(), *found)))
    lines = []
    for change, head in heads.items():
        lines.append(f'{head:{width}}' + ''.join(f'{value:8g}' for value in change.strengths))
        for name, right in found.items():
            shares = right[change.name].values()
            lines.append(f'{name:{width}}' + ''.join(f'{share:8.1f}' for share in shares))
    lines.append('mean of all that is changed')
    return [*lines, *(f'{name:{width}}{mean(right):8.1f}' for name, right in found.items())]


if __name__ == '__main__':
    sys.exit(main())
