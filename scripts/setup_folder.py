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
"""Which folder a virtual environment may take, and what may be removed from it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setup_failures import SetupError

ROOT = Path(__file__).resolve().parent.parent

# Stands in every folder that the set-up makes. Nothing is ever removed from a folder without it.
MARKER = '.made-by-sqz_perception'

# They separate or expand paths in LD_LIBRARY_PATH and the like, in CMake or in setuptools.
UNUSABLE = re.compile(r'[:;$"\\`*?<>|\[\]{}\x00-\x1f\x7f\ud800-\udfff]')


def check_path(path: Path) -> None:
    """Raise SetupError if ROS 2 cannot be built or run in a folder of this name."""
    if found := UNUSABLE.search(str(path)):
        raise SetupError(
            f'{str(path)!r} contains {found.group()!r}, which breaks ROS 2: '
            'move the checkout, or name another folder with VENV='
        )


def check_owner(folder: Path) -> None:
    """Raise SetupError unless the folder is missing, empty or made by the set-up."""
    if not folder.exists() or is_own(folder):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise SetupError(
            f'{folder} was not made by this set-up, so it stays as it is: '
            'name another folder with VENV=, or remove it'
        )


def is_own(folder: Path) -> bool:
    """Say whether the set-up made this folder, and the checkout is not in it."""
    return (folder / MARKER).is_file() and folder not in (ROOT, *ROOT.parents)


def mark(folder: Path) -> None:
    """Make a folder the set-up's own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text('scripts/setup_env.py removes everything in this folder.\n')


def clear(folder: Path) -> None:
    """Remove everything from a folder of the set-up but its marker, or make a new one."""
    check_owner(folder)
    mark(folder)  # first, so that an interrupted removal leaves a folder that can be cleared
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()
