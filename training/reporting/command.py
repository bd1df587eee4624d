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
"""What the commands of ``training`` share: errors in one line, and the file they write."""

from __future__ import annotations

import argparse
import csv
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TextIO

from sqz_perception import atomic
from sqz_perception.errors import SqzError
from sqz_perception.inference.options import count
from sqz_perception.model import file
from sqz_perception.model.network import Model
from training.errors import DataError
from training.model_files.assemble import DTYPES, Identity
from training.reporting.masking import masked

Row = Mapping[str, Any]  # of a table, by its columns' names
DEBUG = 'SQZ_DEBUG'  # environment variable; any value asks for tracebacks


class Parser(argparse.ArgumentParser):
    """A parser that shows no password of the line that it refuses."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and ``message``, and exit with 2."""
        super().error(masked(message))


def parser(module: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return the parser of ``python -m <module>``; ``examples`` end its help."""
    return Parser(
        prog=f'python -m {module}',
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def report(line: str) -> None:
    """Print ``line`` on stderr."""
    print(line, file=sys.stderr)


def run(
    command: Callable[[argparse.Namespace], None],
    options: argparse.Namespace,
    say: Callable[[str], None] = report,
) -> int:
    """Run ``command`` and return the exit code; ``say`` one line where it fails or is ended."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # a file name may hold any bytes
    try:
        command(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as error:  # with what to do next, if the command knows
        say('; '.join(['interrupted', *map(str, error.args)]))
        return 130
    except Exception as error:  # the edge of every command
        return failed(error, say)
    return 0


def failed(error: Exception, say: Callable[[str], None] = report) -> int:
    """Give ``say`` one line for ``error``, which ended a command; return 1."""
    if os.environ.get(DEBUG):
        say(masked(''.join(traceback.format_exception(error))))
    text = masked(' '.join(str(error).split()))
    if isinstance(error, (SqzError, OSError)):
        say(f'error: {text}')
    else:
        say(f'error: {type(error).__name__}: {text}; for the traceback, set {DEBUG}=1')
    return 1


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does, with its usual code, and not at once."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def at_least_one(text: str) -> int:
    """Return a whole number from 1, for argparse."""
    if count(text) < 1:
        raise argparse.ArgumentTypeError(f'{text} is less than 1')
    return int(text)


def density(text: str) -> float:
    """Return a share above 0 and at most 1; what argparse calls."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0 and at most 1')
    return value


def add_release(to: argparse.ArgumentParser) -> None:
    """Ask for the release of a model that is made from another."""
    to.add_argument('--release', type=count, help="default: the input's")


def read(options: argparse.Namespace) -> Model:
    """
    Return ``options.model`` under its new release.

    All that can be refused before the work is done is refused here.
    """
    check_folder(options.output)
    model = file.read(options.model)
    if options.release is not None:
        model = replace(model, release=options.release)
        file.encode(model, plain=True)  # refuses what can not be written
    return model


def add_output(to: argparse.ArgumentParser, default: Identity | None = None) -> None:
    """Ask for the file to write and what it says about itself; the name has no default."""
    default = default or Identity(name='')
    to.add_argument(
        '-o',
        '--output',
        required=True,
        type=Path,
        metavar='OUT.sqz',
        help='the model file to write',
    )
    to.add_argument(
        '--name',
        default=default.name or None,
        required=not default.name,
        help='of the model; its later releases keep it',
    )
    to.add_argument(
        '--release', default=default.release, type=int, help='a number that only rises'
    )
    to.add_argument('--licence', default=default.licence, help='SPDX identifier or a short text')
    to.add_argument('--description', default=default.description, help='one line for people')
    to.add_argument(
        '--dtype',
        default=DTYPES[0],
        choices=DTYPES,
        help='how weights are stored (default: %(default)s); codebook: shared ones, without loss',
    )


def identity(options: argparse.Namespace) -> Identity:
    """Return what ``add_output`` asked for."""
    return Identity(options.name, options.release, options.licence, options.description)


def check_folder(path: Path) -> None:
    """Refuse a file to write in no folder, before the work is done. Raises DataError."""
    if not path.parent.is_dir():
        raise DataError(f'{path}: there is no folder {path.parent}; make it first')


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path to write to; ``path`` is then that file, or, after an error, what it was."""
    new = path.with_name(f'{path.name}.new')
    try:
        yield new
        atomic.rename(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write ``rows``, which have the same columns; never half of them."""
    with replacing(path) as new, new.open('w', newline='', encoding='utf-8') as output:
        print_csv(rows, output)


def print_csv(rows: Sequence[Row], output: TextIO) -> None:
    """Write ``rows``, which have the same columns."""
    writer = csv.DictWriter(output, rows[0])
    writer.writeheader()
    writer.writerows(rows)


def save(model: Model, path: Path) -> None:
    """Write ``model`` and say so in one line."""
    size = file.write(model, path)
    print(
        f'{path}: {model.name} release {model.release}, {model.parameters:,} parameters, '
        f'{len(model.labels)} classes, {size:,} bytes'
    )
