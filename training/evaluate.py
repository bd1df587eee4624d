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
Measure a model file on pictures whose class is known, exactly as the robot runs it.

The class of a picture is the name of a folder that it lies in, one of the model's labels, or the
number that its file's name begins with (0 is the first class). Names that differ from a label in
case or underscores only are accepted where one label alone is meant. Of a folder or zip with
train/ and val/ only val/ is used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqz_perception.inference import classifier
from sqz_perception.inference.options import runtime
from training.data.archive import Archive
from training.evaluation.outcome import (
    Outcome,
    add_options,
    against,
    by_class,
    check_labels,
    evaluate,
    summary,
)
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.evaluate models/cifar10.sqz --images cifar10.zip
  python -m training.evaluate imagenet.sqz --images PHOTOS.zip --json | jq .top1
  python -m training.evaluate models/cifar10.sqz --images cifar10.zip --backend onnxruntime \\
      --limit 500
  python -m training.evaluate small.sqz --against squeezenet.sqz --images PHOTOS.zip
  python -m training.evaluate models/cifar10.sqz --images cifar10.zip --confusion confusion.png
  python -m training.evaluate models/cifar10.sqz --images cifar10.zip --reliability scores.png
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.evaluate', __doc__ or '', EXAMPLES)
    parser.add_argument('model', metavar='MODEL.sqz')
    parser.add_argument('--json', action='store_true', help='print one line of JSON')
    parser.add_argument('--by-class', action='store_true', help="each class's figures too")
    parser.add_argument(
        '--against', metavar='ORIGINAL.sqz', help='also compare with this model, run in fp32'
    )
    parser.add_argument(
        '--confusion', type=Path, metavar='PNG', help='draw what each class is taken for'
    )
    parser.add_argument(
        '--reliability', type=Path, metavar='PNG', help='draw how often each score is right'
    )
    add_options(parser)
    return command.run(_evaluate, parser.parse_args(arguments))


def _evaluate(options: argparse.Namespace) -> None:
    for path in filter(None, (options.confusion, options.reliability)):
        command.check_folder(path)
    archive = Archive(options.images)
    model = classifier.load(options.model, runtime(options))
    outcome = evaluate(model, archive, options.limit)
    figures = summary(model, outcome)
    if options.against:
        original = classifier.load(options.against, replace(runtime(options), precision='fp32'))
        check_labels(options.against, original, options.model, model)
        figures |= against(outcome, evaluate(original, archive, options.limit))
    _draw(outcome, model.labels, options)
    classes = by_class(outcome, model.labels) if options.by_class else {}
    if options.json:
        print(json.dumps({**figures, 'classes': classes} if classes else figures))
        return
    for key, value in figures.items():
        print(f'{key:17} {value}')
    for label, row in classes.items():
        print(f'  {row["top1"]:7.2f} %  {label:24} mostly taken for: {row["taken_for"] or "-"}')


def _draw(outcome: Outcome, labels: Sequence[str], options: argparse.Namespace) -> None:
    if not (options.confusion or options.reliability):
        return
    from training.reporting import plots

    if options.confusion:
        plots.confusion(outcome.confusion(len(labels)), labels, options.confusion)
    if options.reliability:
        plots.reliability(outcome.scores, outcome.right, options.reliability)


if __name__ == '__main__':
    sys.exit(main())
