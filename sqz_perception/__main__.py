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
"""Look at a model file, prove it, try it on pictures: ``python -m sqz_perception --help``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sqz_perception.errors import SourceError, SqzError
from sqz_perception.inference.options import add_runtime, count, runtime
from sqz_perception.model import file
from sqz_perception.model.network import Model, multiply_adds

DEBUG = 'SQZ_DEBUG'  # environment variable; any value asks for tracebacks
EXAMPLES = """\
examples:
  python -m sqz_perception info models/cifar10.sqz
  python -m sqz_perception verify models/cifar10.sqz --backend onnxruntime
  python -m sqz_perception classify models/cifar10.sqz cat.jpg dog.png
  python -m sqz_perception classify models/cifar10.sqz *.jpg --json | jq .results[0]
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 for what failed, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # a file name may hold any bytes
    try:
        code = options.run(options)  # of a command that goes on after an error
        sys.stdout.flush()
    except SqzError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        text = ' '.join(f'{type(error).__name__}: {error}'.split())
        print(f'error: {text}; for the traceback, set {DEBUG}=1', file=sys.stderr)
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return 1
    return code or 0


def info(options: argparse.Namespace) -> None:
    """Print what a model file holds."""
    model, identity = file.read_identified(options.model)
    facts = _facts(model, identity, Path(options.model).stat().st_size)
    if options.json:
        print(json.dumps({**facts, 'labels': model.labels}))
        return
    for key, value in facts.items():
        print(f'{key:15} {_for_people(value)}')
    shown = ', '.join(model.labels[:10])
    print(f'{"labels":15} {shown}{", ..." if len(model.labels) > 10 else ""}')


def verify(options: argparse.Namespace) -> None:
    """Check a model file, run its self-test on this machine's runtime, and time one picture."""
    from sqz_perception.inference import choosing

    model, identity = file.read_identified(options.model)
    ready = choosing.prepare(model, runtime(options))
    facts = {
        'model': f'{model.name} release {model.release}',
        'identity': identity,
        'backend': ready.backend.description,
        'why': ready.why,
        'ms': round(ready.milliseconds, 3),
        'self_tests': len(model.self_test.seeds),
        'deviation': round(ready.deviation, 6),
    }
    if options.json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f'{key:12} {value}')
    print('ok')


def classify(options: argparse.Namespace) -> int:
    """Print the best classes of each picture."""
    from sqz_perception import pictures
    from sqz_perception.inference import classifier, frames

    model = classifier.load(options.model, runtime(options))
    code = 0
    for path in options.images:
        try:
            picture = frames.fit(pictures.read_picture(path), model.input)
        except SourceError as error:
            print(f'error: {error}', file=sys.stderr)
            code = 1
            continue
        start = time.perf_counter()
        results = model.classify(picture, options.top_k)
        milliseconds = (time.perf_counter() - start) * 1e3
        if options.json:
            row = {'image': path, 'ms': round(milliseconds, 3)}
            print(json.dumps({**row, 'results': [asdict(result) for result in results]}))
            continue
        print(f'{path}  ({milliseconds:.1f} ms, {model.backend.description})')
        for result in results:
            print(f'  {result.score:6.1%}  {result.label}')
    return code


def _facts(model: Model, identity: str, size: int) -> dict[str, object]:
    kinds = Counter[str]()
    for tensor in model.tensors.values():
        kind = 'codebook' if tensor.codebook is not None else tensor.values.dtype.name
        kinds[kind] += tensor.values.size
    return {
        'name': model.name,
        'release': model.release,
        'identity': identity,
        'description': model.description,
        'licence': model.licence,
        'bytes': size,
        'parameters': model.parameters,
        'bits_per_weight': round(8 * size / model.parameters, 2),
        'stored_as': dict(kinds),
        'macs': multiply_adds(model),
        'input': asdict(model.input),
        'nodes': dict(Counter(node.op for node in model.nodes)),
        'classes': len(model.labels),
        'self_tests': len(model.self_test.seeds),
    }


def _for_people(value: object) -> str:
    if isinstance(value, int):
        return f'{value:,}'
    if isinstance(value, dict):
        return ', '.join(f'{key} {_for_people(v)}' for key, v in value.items())
    if isinstance(value, tuple):
        return '(' + ', '.join(_for_people(v) for v in value) + ')'
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m sqz_perception',
        description='Look at a model file, prove it, try it on pictures. Needs no ROS.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def command(run: Callable[[argparse.Namespace], int | None]) -> argparse.ArgumentParser:
        added = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        added.add_argument('model', metavar='FILE', help='a .sqz model file')
        added.add_argument('--json', action='store_true', help='print JSON, one object a line')
        return added

    command(info)
    for run in (verify, classify):
        added = command(run)
        add_runtime(added)
    added.add_argument('images', metavar='IMAGE', nargs='+', help='picture files')
    added.add_argument('--top-k', type=count, default=5, metavar='K', help='classes to print')
    return parser


if __name__ == '__main__':
    sys.exit(main())
