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
"""Replace a file durably: after a power cut there is the old content or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

FilePath = str | os.PathLike[str]


def replace(path: FilePath, data: bytes | memoryview, *, mode: int = 0o644) -> None:
    """
    Write ``data`` to ``path``; the old file stays until the new one is on the disk.

    Raises OSError and leaves no temporary file. The old file is then untouched, unless only the
    last step failed, which makes the new name durable.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix='.part')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
        os.chmod(name, mode)
        rename(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def rename(written: FilePath, path: FilePath) -> None:
    """Give a finished file in the same folder the name ``path``, durably. Raises OSError."""
    _sync(written, os.O_RDONLY)
    os.replace(written, path)
    sync_folder(Path(path).parent)


def sync_folder(folder: FilePath) -> None:
    """Make renames and removals in ``folder`` durable. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: FilePath, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
