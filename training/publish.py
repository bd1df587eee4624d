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
Sign releases of a model and send them to robots.

``init`` makes keys and a repository, once. ``release`` signs a model file and the deltas that lead
to it. ``push`` broadcasts the newest release over ROS 2 and shows what each robot does with it.
``rotate`` replaces a key, ``renew`` signs everything anew before it expires.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sqz_perception.errors import SqzError, UpdateError
from sqz_perception.update import trust
from training.publishing import keys
from training.publishing.repository import ONLINE, Repository
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.publish init --repository updates --keys ~/keys
  python -m training.publish release new.sqz --base old.sqz --repository updates --keys ~/keys
  python -m training.publish push --repository updates
  python -m training.publish push --repository updates --ring canary --stop-after 2
  python -m training.publish rotate timestamp --repository updates --keys ~/keys
The passphrase of the keys comes from SQZ_KEY_PASSPHRASE or is asked for.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except SqzError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def init(options: argparse.Namespace) -> None:
    """Make keys and an empty repository."""
    if options.threshold > options.roots:
        raise UpdateError(f'a threshold of {options.threshold} needs as many root keys')
    secret = keys.passphrase(new=True)
    names = [*(f'root-{i + 1}' for i in range(options.roots)), *ONLINE]
    signers = {name: keys.create(_key_file(options, name), secret) for name in names}
    Repository(options.repository).create(signers, options.threshold)
    print(f'{options.keys}: {len(names)} keys; keep the root keys offline, each in its own place')
    print(
        f'{options.repository}/metadata/1.root.json: copy this to every robot and set update_root'
    )


def release(options: argparse.Namespace) -> None:
    """Sign a model file, with a delta from each base that is still in the field."""
    repository = Repository(options.repository)
    published = repository.release(options.model, options.base, _keys(options), keep=options.keep)
    for file in published:
        kind = f'from {file.base[:12]}' if file.base else 'whole'
        print(f'{file.path}: {file.size:,} bytes, {kind}')
    print(f'metadata: {len(trust.pack(repository.bundle())):,} bytes')


def renew(options: argparse.Namespace) -> None:
    """Sign everything anew with later dates."""
    Repository(options.repository).renew(_keys(options))


def rotate(options: argparse.Namespace) -> None:
    """Replace a key: lost, stolen, or of somebody who left."""
    repository, signers = Repository(options.repository), _keys(options)
    path = _key_file(options, options.key)
    signers(options.key)  # it must exist, and the passphrase must be right
    kept = path.with_suffix('.old.pem')
    new = keys.create(path.with_suffix('.new.pem'), keys.passphrase())
    repository.rotate(options.key, new, signers)
    path.replace(kept)
    path.with_suffix('.new.pem').replace(path)
    repository.renew(_keys(options))
    print(f'{path}: the new key; {kept} signs nothing any more')


def push(options: argparse.Namespace) -> int:
    """Broadcast the newest release and show each robot's answer."""
    try:
        from training.publishing.broadcast import broadcast
    except ImportError as error:
        raise UpdateError(f'push needs ROS 2 in this shell: {error}') from error
    return broadcast(
        Repository(options.repository),
        topic=options.topic,
        ring=options.ring,
        rate=options.rate,
        expect=options.robots,
        stop_after=options.stop_after,
        seconds=options.seconds,
    )


def _keys(options: argparse.Namespace) -> keys.Keys:
    return keys.Keys(options.keys.expanduser())


def _key_file(options: argparse.Namespace, name: str) -> Path:
    return Path(options.keys.expanduser() / f'{name}{keys.SUFFIX}')


def _parser() -> argparse.ArgumentParser:
    parser = command.parser('training.publish', __doc__ or '', EXAMPLES)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    def add(run: object, *, signs: bool = True) -> argparse.ArgumentParser:
        text = str(run.__doc__)
        added = commands.add_parser(run.__name__, help=text, description=text)  # type: ignore[attr-defined]
        added.set_defaults(run=run)
        added.add_argument('--repository', type=Path, default=Path('updates'), metavar='FOLDER')
        if signs:
            added.add_argument('--keys', type=Path, default=Path('~/.sqz_keys'), metavar='FOLDER')
        return added

    added = add(init)
    added.add_argument('--roots', type=command.at_least_one, default=3, help='root keys')
    added.add_argument(
        '--threshold', type=command.at_least_one, default=2, help='root keys that must sign'
    )
    added = add(release)
    added.add_argument('model', type=Path, metavar='NEW.sqz')
    added.add_argument('--base', type=Path, nargs='+', default=[], metavar='OLD.sqz')
    added.add_argument(
        '--keep', type=command.at_least_one, default=1, help='releases that stay in the repository'
    )
    added = add(rotate)
    added.add_argument('key', metavar='KEY', help='root-1, ..., targets, snapshot or timestamp')
    add(renew)
    added = add(push, signs=False)
    added.add_argument(
        '--topic', default='/model_updates', help='where robots listen: NAMESPACE/model_updates'
    )
    added.add_argument('--ring', default='', help='only robots whose update_ring is this')
    added.add_argument('--rate', type=float, default=500e3, help='bytes per second')
    added.add_argument('--robots', type=int, default=0, help='end when so many robots are done')
    added.add_argument(
        '--stop-after', type=int, default=0, metavar='N', help='end when N robots have failed'
    )
    added.add_argument('--seconds', type=float, default=600.0, help='end at the latest then')
    return parser


if __name__ == '__main__':
    sys.exit(main())
