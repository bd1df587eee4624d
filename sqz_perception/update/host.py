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
"""What the updater needs from the node: its models, and what its operator decides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Serving:
    """The model in use."""

    name: str
    release: int
    identity: str
    path: Path


class Host(Protocol):
    """What runs the models: the node's model server, or a test."""

    def serving(self) -> Serving:
        """Return the model in use."""

    def load(self, path: Path) -> Any:
        """Return the model at ``path``, tested, warm and fast enough. Raises SqzError."""

    def swap(self, model: Any) -> str:
        """Put a loaded model in use; return 'old -> new'."""

    def go_back(self, path: Path | None) -> str:
        """
        Put a model in use again that was before: the one at ``path``, None for the last.

        Return 'old -> new'. Raises SqzError.
        """

    def slowest(self) -> float:
        """Return the longest acceptable median time of a frame, in milliseconds."""


@dataclass(frozen=True)
class Policy:
    """What the robot's operator decides."""

    automatic: bool = False  # activate what is staged
    allowed: bool = True  # the robot is not busy
    unsigned: bool = False  # install without signatures
    trial: float = 30.0  # seconds
    source: str = ''  # folder or address of a repository
