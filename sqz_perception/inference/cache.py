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
The candidate that was fastest for a network on this machine, remembered between starts.

One small JSON file in a cache folder. Whatever is wrong with it costs only a new measurement: the
content is not trusted, a candidate from it is checked and self-tested like any other.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from importlib import metadata as packages
from pathlib import Path

from sqz_perception import atomic
from sqz_perception.inference import processor
from sqz_perception.inference.backend import BACKENDS, PRECISIONS, Candidate, Runtime
from sqz_perception.model.int8 import largest_level
from sqz_perception.model.network import Model

FOLDER = 'SQZ_PERCEPTION_CACHE'  # environment variable: the folder; empty: remember nothing
FILE = 'fastest.json'
VERSION = 1  # of the file
MAX_BYTES = 64 * 2**10
MAX_ENTRIES = 64
MAX_FIGURES = 500  # characters


def folder() -> Path | None:
    """Return the cache folder, None where there is none. It may not exist yet."""
    given = os.environ.get(FOLDER)
    if given is not None:
        return Path(given) if given else None
    base = os.environ.get('XDG_CACHE_HOME', '')
    if os.path.isabs(base):
        return Path(base) / 'sqz_perception'
    home = os.path.expanduser('~')
    return Path(home) / '.cache' / 'sqz_perception' if os.path.isabs(home) else None


def key(model: Model, runtime: Runtime) -> str:
    """
    Return what the speed depends on, as a short text.

    That is the network's structure and not its weights, so an update of the same network need not
    be measured again; what was asked for; the versions of the runtimes; the processor.
    """
    parts = {
        'nodes': [repr(node) for node in model.nodes],
        'tensors': [
            (name, tensor.values.dtype.name, tensor.values.shape, tensor.step is None)
            for name, tensor in model.tensors.items()
        ],
        'input': repr(model.input),
        'ranges': sorted(model.ranges),
        'exact': processor.adds_int8_exactly(largest_level(model)),
        'runtime': repr(runtime),
        'versions': [_version(name) for name in BACKENDS],
        'processor': processor.identity(),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def recall(key: str) -> tuple[Candidate | None, str]:
    """Return the candidate remembered under ``key``, None where there is none, and its figures."""
    entry = _read().get(key)
    return (Candidate(entry[0], entry[1]), entry[2]) if entry else (None, '')


def remember(key: str, candidate: Candidate, figures: str) -> list[str]:
    """Remember ``candidate`` under ``key``. Return why that was impossible, nothing if it was."""
    where = folder()
    if where is None:
        return []
    entries = _read()
    entries.pop(key, None)
    entries[key] = [candidate.backend, candidate.precision, figures[:MAX_FIGURES]]
    kept = dict(list(entries.items())[-MAX_ENTRIES:])
    try:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.replace(where / FILE, json.dumps({'version': VERSION, 'fastest': kept}).encode())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return [f'not remembered: {where}: {reason or error}; set {FOLDER} to another folder']
    return []


def _read() -> dict[str, list[str]]:
    """Return the well-formed entries, the latest last."""
    try:
        document = json.loads(_content())
        if document['version'] != VERSION:
            return {}
        return {key: entry for key, entry in document['fastest'].items() if _is_entry(key, entry)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _content() -> bytes:
    where = folder()
    if where is None:
        return b''
    handle = os.open(where / FILE, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not block
    with open(handle, 'rb') as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b''
        data = opened.read(MAX_BYTES + 1)
    return data if len(data) <= MAX_BYTES else b''


def _is_entry(key: object, entry: object) -> bool:
    return (
        isinstance(key, str)
        and len(key) == 32
        and isinstance(entry, list)
        and len(entry) == 3
        and entry[0] in BACKENDS
        and entry[1] in PRECISIONS[1:]
        and isinstance(entry[2], str)
        and len(entry[2]) <= MAX_FIGURES
        and entry[2].isprintable()
    )


def _version(package: str) -> str:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return ''
