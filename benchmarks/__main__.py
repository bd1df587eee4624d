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
Measure the nodes as a robot runs them, and training, and print one table.

Real processes over real DDS, contenders in turns. Nothing else should run on the machine: a
benchmark beside a compiler measures the compiler. Progress goes to stderr, the table to stdout,
and the same figures with the description of the machine to a JSON file.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import machine, report
from benchmarks.processes import Lab
from benchmarks.report import Row
from benchmarks.setting import Setting, say
from sqz_perception.errors import SqzError

# What each needs is imported when it is asked for: torch takes seconds.
PARTS = {
    'latency': 'stamp to classification beside a plain node; own cost; memory',
    'start': 'process start to first classification',
    'swap': 'update_model under load',
    'runtimes': 'inference alone, each runtime',
    'int8': 'int8 beside bf16, fp32 and the int8 of NNCF, where it is installed; needs --model',
    'conversions': 'frames in each encoding; rclpy',
    'accuracy': 'top-1 and top-5; only with --images',
    'training_loop': "training beside torchvision's reference recipe; JPEG files of --images",
    'distributed': 'what two processes that train together exchange, and what it costs',
}
EXAMPLES = """\
examples:
  make bench
  make bench ARGS="--only latency start --seconds 5"
  make bench ARGS="--model imagenet.sqz --images PHOTOS.zip"
  python -m benchmarks --only conversions --json conversions.json
  python -m benchmarks --only training_loop distributed --images cifar10.zip
"""


def parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parts = '\n'.join(f'  {name:13} {text}' for name, text in PARTS.items())
    made = argparse.ArgumentParser(
        prog='python -m benchmarks',
        description=__doc__,
        epilog=f'parts:\n{parts}\n\n{EXAMPLES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        '--only', nargs='+', choices=PARTS, default=list(PARTS), metavar='PART', help='not all'
    )
    made.add_argument(
        '--seconds', type=_positive, default=10.0, help='of each run (default: %(default)g)'
    )
    made.add_argument(
        '--rounds', type=_count, default=3, help='runs of each contender (default: %(default)s)'
    )
    made.add_argument(
        '--json', type=Path, default=Path('build/benchmarks.json'), metavar='FILE',
        help='(default: %(default)s)',
    )  # fmt: skip
    made.add_argument(
        '--model', type=Path, metavar='FILE.sqz',
        help='in place of a SqueezeNet v1.0 with random weights, which is as fast',
    )  # fmt: skip
    made.add_argument(
        '--images', type=Path, metavar='ZIP', help='pictures with known classes, for accuracy'
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code. 0 also where a goal is missed: the table says so."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    try:
        _bench(options, shlex.join(['python', '-m', 'benchmarks', *arguments]))
    except (SqzError, OSError, ImportError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _bench(options: argparse.Namespace, command: str) -> None:
    import domain_coordinator

    about = machine.describe(command)
    if os.getloadavg()[0] > machine.BUSY:
        say(f'the machine is busy (load {os.getloadavg()[0]:.1f}): the figures will be too high')
    with (
        tempfile.TemporaryDirectory(prefix='sqz-bench-') as folder,
        domain_coordinator.domain_id() as domain,
    ):
        setting = Setting(
            folder=Path(folder),
            lab=Lab(Path(folder), int(domain)),
            seconds=options.seconds,
            rounds=options.rounds,
            given=options.model.resolve() if options.model else None,
            images=options.images.resolve() if options.images else None,
        )
        rows = _measure(setting, [name for name in PARTS if name in options.only])
    report.write(options.json, about, rows)
    print(machine.summary(about), report.table(rows), sep='\n\n')
    say(f'written to {options.json}')


def _measure(setting: Setting, parts: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in parts:
        say(f'{name}: {PARTS[name]}')
        rows += importlib.import_module(f'benchmarks.{name}').measure(setting)
    return rows


def _positive(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError(f'{text} is not between 1 and 600 seconds')
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError(f'{text} is not between 1 and 100')
    return value


if __name__ == '__main__':
    sys.exit(main())
