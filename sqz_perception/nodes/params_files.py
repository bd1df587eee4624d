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
"""Read ROS parameter files as rcl does, to find what has no effect. Needs no ROS."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

PARAMETERS = 'ros__parameters'


def unused(arguments: Sequence[str], node: str) -> list[str]:
    """
    Return a warning for each params file in ``arguments`` that has no section for ``node``.

    ``node`` is a full name. Files are often shared: sections of other nodes are no mistake.
    """
    paths = [path for flag, path in pairwise(arguments) if flag == '--params-file']
    return [warning for path in paths for warning in _unused(Path(path), node)]


def values(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (section, parameters) for each section of a params file. Raises OSError, YAMLError."""
    yield from _sections('', yaml.safe_load(path.read_text()))


def applies(section: str, node: str) -> bool:
    """Return whether ``section``, a name that may have wildcards, is for ``node``."""
    pattern = re.escape('/' + section.lstrip('/'))
    # rcl does the same: '/**' becomes any number of names, '/*' one.
    return re.fullmatch(pattern.replace(r'/\*', r'(/\w+)').replace(r'\*', '*'), node) is not None


def _unused(path: Path, node: str) -> list[str]:
    try:
        sections = [section for section, _ in values(path)]
    except (OSError, ValueError, yaml.YAMLError):
        return []  # rcl has refused the file, or reads it in its own way
    if not sections or any(applies(section, node) for section in sections):
        return []
    name = node.rpartition('/')[2]
    return [
        f'{path} has no section for {node} (found: {", ".join(sections)}), so it has no effect; '
        f'name the section /** or {name}'
    ]


def _sections(name: str, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(content, dict):
        return
    for key, inner in content.items():
        if key == PARAMETERS:
            yield name, inner if isinstance(inner, dict) else {}
        else:
            yield from _sections(f'{name}/{key}' if name else str(key), inner)
