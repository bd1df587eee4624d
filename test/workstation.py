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
"""A workstation that signs releases, for the tests of what robots make of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from sqz_perception.model import file
from sqz_perception.update import trust
from sqz_perception.update.release import Release
from sqz_perception.update.trust import Record, verify
from tiny import tiny_model
from training.publishing.repository import ONLINE, Repository

NAMES = ('root-1', 'root-2', 'root-3', *ONLINE)


@dataclass
class Workstation:
    """A repository with its keys, and the robot's side of the trust."""

    folder: Path
    keys: dict[str, CryptoSigner]
    repository: Repository
    root: bytes = b''
    record: Record = field(default_factory=Record)

    def model(self, number: int, name: str = 'tiny') -> Path:
        """Return the model file of a release."""
        path = self.folder / f'{name}-{number}.sqz'
        file.write(replace(tiny_model(release=number, bias=number / 100), name=name), path)
        return path

    def publish(self, number: int, name: str = 'tiny') -> dict[str, bytes]:
        """Publish a release, with a delta from the one before if there is one."""
        path = self.model(number, name)
        base = self.folder / f'{name}-{number - 1}.sqz'
        self.repository.release(path, [base] if base.exists() else [], self.keys.__getitem__)
        return self.repository.bundle()

    def check(self, bundle: trust.Bundle, clock: float | None = None) -> tuple[Release, ...]:
        """Verify as a robot does, and remember what was accepted."""
        now = time.time() if clock is None else clock
        record, releases = verify(bundle, self.root, self.record, now, self.folder)
        self.record = record
        return releases


def workstation(folder: Path) -> Workstation:
    """Return a workstation whose repository has no release yet."""
    folder.mkdir(exist_ok=True)
    keys = {name: CryptoSigner.generate_ed25519() for name in NAMES}
    made = Workstation(folder, keys, Repository(folder / 'repository'))
    made.root = made.repository.create(keys, threshold=2)
    return made
