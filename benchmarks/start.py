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
"""From the start of the process to its first classification; the camera runs already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.report import Goal, Row, summarise
from benchmarks.setting import CLASSIFIER, Setting, parameters, say

TIMES = 5
LONG = 60.0  # seconds that the camera lives; it is ended sooner
GOAL = Goal(high=2.5)  # seconds


def measure(setting: Setting) -> Iterator[Row]:
    """Start a classifier some times with each model; return a row for each."""
    found: dict[str, list[float]] = {name: [] for name in setting.models}
    for number in range(TIMES):
        for name, path in setting.models.items():
            say(f'start: {number + 1} of {TIMES}: {name}')
            found[name].append(first_classification(setting, path))
    for name, values in found.items():
        yield summarise('start', f'{name}: first classification', 's', values, GOAL)


def first_classification(setting: Setting, model: Path) -> float:
    """Return the seconds from the classifier's start to its first classification."""
    lab = setting.lab
    with (
        lab.running('benchmarks.observer', '--first') as observer,
        lab.running('benchmarks.camera', '--at-once', '--seconds', str(LONG)) as camera,
    ):
        observer.line()  # ready
        camera.line()  # the first frame is out
        with lab.running(CLASSIFIER, *parameters(model)) as node:
            _, received = observer.result()['received'][0]
            return (received - node.begun) / 1e9
