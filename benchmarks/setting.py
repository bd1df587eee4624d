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
"""What every part of the benchmark is given."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.processes import Lab
from sqz_perception.resources import default_model

CLASSIFIER = 'sqz_perception.nodes classifier_node'
MADE = 'squeezenet1_0'  # the name of the model that is made on the spot


@dataclass(frozen=True)
class Setting:
    """Files and lengths. Files that are made are made once, when first asked for."""

    folder: Path  # for what is written on the way
    lab: Lab
    seconds: float  # of each measured run
    rounds: int  # how often each contender has its turn
    given: Path | None  # the model file of the command line
    images: Path | None

    @cached_property
    def made(self) -> tuple[Path, Path]:
        """Make a SqueezeNet v1.0 with random weights: model file, torchvision's state dict."""
        from benchmarks import weights

        model, state = self.folder / f'{MADE}.sqz', self.folder / f'{MADE}.pt'
        weights.make(model, state)
        return model, state

    @cached_property
    def large(self) -> Path:
        """Return the ImageNet-size model: the one given, else one made on the spot."""
        return self.given or self.made[0]

    @cached_property
    def state(self) -> Path:
        """Return the same weights for torchvision, or random ones if no SqueezeNet v1.0 fits."""
        from benchmarks import weights

        state = self.folder / 'given.pt'
        if self.given and weights.convert(self.given, state):
            return state
        return self.made[1]

    @property
    def models(self) -> dict[str, Path]:
        """Return the models that are measured, by what the table calls them."""
        found = {self.large.stem: self.large}
        if default_model().is_file():
            found[default_model().stem] = default_model()
        return found


def say(text: str) -> None:
    """Report progress."""
    print(f'bench: {text}', file=sys.stderr, flush=True)


def parameters(model: Path, **settings: object) -> list[str]:
    """Return a classifier node's arguments."""
    values = {'model': model, **settings}
    pairs = (pair for key, value in values.items() for pair in ('-p', f'{key}:={value}'))
    return ['--ros-args', *pairs]
