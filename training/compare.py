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
Several compressed models beside the one that they were made from: size, accuracy, divergence.

Each is run as the robot runs it, in the fastest arithmetic that it is good for; the original in
fp32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqz_perception.inference import classifier
from sqz_perception.inference.options import runtime
from training.data.archive import Archive
from training.evaluation.outcome import TOP, add_options, against, check_labels, evaluate
from training.reporting import command
from training.reporting.command import Row

EXAMPLES = """\
examples:
  python -m training.compare squeezenet.sqz small.sqz smaller.sqz --images PHOTOS.zip
  python -m training.compare squeezenet.sqz runs/*.sqz --images PHOTOS.zip --csv sizes.csv \\
      --plot sizes.png
"""
COLUMNS = ('file', 'bytes', 'precision', 'top1', 'top5', 'same_top1', 'divergence')


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.compare', __doc__ or '', EXAMPLES)
    parser.add_argument('original', metavar='ORIGINAL.sqz')
    parser.add_argument('models', metavar='MODEL.sqz', nargs='+')
    parser.add_argument('--csv', type=Path, metavar='FILE', help='write the table')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='draw size against accuracy')
    add_options(parser)
    return command.run(_compare, parser.parse_args(arguments))


def _compare(options: argparse.Namespace) -> None:
    for path in filter(None, (options.csv, options.plot)):
        command.check_folder(path)
    rows = compared(options)
    print('  '.join(f'{name:>10}' for name in COLUMNS[1:]) + '  file')
    for row in rows:
        print('  '.join(f'{row[name]!s:>10}' for name in COLUMNS[1:]) + f'  {row["file"]}')
    if options.csv:
        command.write_csv(rows, options.csv)
    if options.plot:
        plot(rows, options.plot)


def compared(options: argparse.Namespace) -> list[Row]:
    """Return a row for the original and one for each model. Raises DataError."""
    archive, settings = Archive(options.images), runtime(options)
    original = classifier.load(options.original, replace(settings, precision='fp32'))
    reference = evaluate(original, archive, options.limit)
    rows: list[Row] = []
    for path in (options.original, *options.models):
        model = original if path == options.original else classifier.load(path, settings)
        check_labels(path, model, options.original, original)
        outcome = evaluate(model, archive, options.limit)
        figures = {
            'file': Path(path).name,
            'bytes': Path(path).stat().st_size,
            'precision': model.backend.precision,
            'top1': round(outcome.top(1), 2),
            'top5': round(outcome.top(TOP), 2),
            **against(outcome, reference),
        }
        rows.append({name: figures[name] for name in COLUMNS})
    return rows


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw top-1, agreement and divergence over the size in kB."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.5), layout='constrained')
    titles = {
        'top1': 'top-1, %',
        'same_top1': 'same first class as the original, %',
        'divergence': 'divergence from the original, nats',
    }
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for row in rows[1:]:
            size = float(str(row['bytes'])) / 1000
            axis.scatter(size, row[key], label=str(row['file']).removesuffix('.sqz'))
        axis.set_title(title)
        axis.set_xlabel('kB, the whole file')
        axis.grid(alpha=0.3)
    if all(float(str(row['divergence'])) > 0 for row in rows[1:]):
        axes[2].set_yscale('log')
    axes[0].axhline(float(str(rows[0]['top1'])), linestyle='--', color='gray')
    axes[2].legend(fontsize='small')
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f'{path}: size against accuracy')


if __name__ == '__main__':
    sys.exit(main())
