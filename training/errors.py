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
Name every way the workstation's side can fail, and print warnings.

The errors are::

    TrainingError                  a SqzError
    +-- ArchitectureInvalid    metaparameters or weights that describe no network here
    +-- DataError              pictures to train or evaluate on that can't be used
    +-- CheckpointInvalid      no checkpoint of this trainer
    +-- TrainingDiverged       the loss is no longer a number
    +-- ImportFailed           foreign weights that can't be read
    +-- CompressionFailed      no model of the size or the loss that was asked for
    +-- SweepInvalid           a sweep that can't be explored, or trials of another one
"""

from __future__ import annotations

import os
import sys

from sqz_perception.errors import SqzError


class TrainingError(SqzError):
    """Training, import or evaluation on the workstation can't go on."""


class ArchitectureInvalid(TrainingError):
    """Metaparameters that describe no network, or weights that belong to another one."""


class DataError(TrainingError):
    """No pictures, one class only, unreadable pictures or pictures of unknown classes."""


class CheckpointInvalid(TrainingError):
    """The file is missing, damaged or not written by ``training.train``."""


class TrainingDiverged(TrainingError):
    """The loss became infinite or not a number."""


class ImportFailed(TrainingError):
    """Foreign weights that are missing, damaged or of another network."""


class CompressionFailed(TrainingError):
    """No model of the size or the loss that was asked for, or settings that make none."""


class SweepInvalid(TrainingError):
    """A sweep file that can't be used, or a study that can't be read or is of another sweep."""


def warn(line: str) -> None:
    """Print a warning on stderr, once where several processes train together."""
    if os.environ.get('RANK', '0') == '0':
        print(f'warning: {line}', file=sys.stderr)
