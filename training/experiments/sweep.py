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
Read a sweep file: which values of a recipe to try, and how to choose them.

For example::

    recipe: cifar10.yaml    # beside the sweep file
    epochs: 6               # of each training
    method: tpe             # or random, or grid: every combination of lists
    trials: 40              # of tpe and random
    prune: true             # end what is worse than the median at the same epoch
    seed: 1                 # of the choice and of each training
    space:
      model.architecture.squeeze_ratio: [0.125, 0.25, 0.5]
      model.learning_rate: {low: 0.02, high: 0.5, log: true}
"""

from __future__ import annotations

import json
from argparse import ArgumentError
from dataclasses import dataclass
from itertools import product
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import optuna
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, Path_fr, PositiveInt
from optuna import distributions
from optuna.distributions import BaseDistribution, CategoricalDistribution

from training.errors import SweepInvalid
from training.experiments.engine import Point, Value

# The sweep itself sets these for each training.
OWN = {'config', 'ckpt_path', 'data.path', 'trainer.default_root_dir', 'trainer.max_epochs'}


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file."""

    recipe: Path_fr
    epochs: PositiveInt
    space: dict[str, Any]
    method: Literal['grid', 'tpe', 'random'] = 'grid'
    trials: NonNegativeInt = 0
    prune: bool = False
    seed: NonNegativeInt = 0

    def tried(self) -> dict[str, BaseDistribution]:
        """Return the space as Optuna's distributions. Raises SweepInvalid."""
        found = {name: _distribution(name, what) for name, what in self.space.items()}
        grid = self.method == 'grid'
        ranges = [n for n, d in found.items() if not isinstance(d, CategoricalDistribution)]
        if not found:
            raise SweepInvalid('space is empty; name values of the recipe and what to try')
        for name in OWN & found.keys():
            raise SweepInvalid(f'{name} can not be varied; the sweep sets it')
        if grid and ranges:
            raise SweepInvalid(f'a grid takes lists; give {ranges[0]} one, or choose method tpe')
        if grid == bool(self.trials):
            raise SweepInvalid('tpe and random need trials, a number from 1; a grid has none')
        return found

    def points(self) -> list[Point]:
        """Return a point for each training; those of tpe get their values when they begin."""
        space = self.tried()
        values: list[dict[str, Value]] = [{} for _ in range(self.trials)]
        if self.method == 'grid':
            values = [
                dict(zip(space, point, strict=True))
                for point in product(*(tried.choices for tried in space.values()))
            ]
        if self.method == 'random':
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(self.seed))
            values = [study.ask(space).params for _ in values]
        return [Point(f'trial_{number:04d}', own) for number, own in enumerate(values)]

    def example(self) -> dict[str, Value]:
        """Return a value to try for each name."""
        return {
            name: tried.choices[0] if isinstance(tried, CategoricalDistribution) else tried.low
            for name, tried in self.tried().items()
        }

    def pruner(self) -> optuna.pruners.BasePruner:
        """Return what ends trainings early."""
        if self.prune:
            return optuna.pruners.MedianPruner(n_warmup_steps=self.epochs // 4)
        return optuna.pruners.NopPruner()

    def settings(self) -> dict[str, object]:
        """Return what the sweep of another process must have too."""
        space = {
            f'space: {name}': distributions.distribution_to_json(d)
            for name, d in self.tried().items()
        }
        return {'method': self.method, 'prune': self.prune, **space}


def read(path: Path) -> Sweep:
    """Read a sweep file. Raises SweepInvalid with its name."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Sweep)
    try:
        sweep = Sweep(**parser.parse_path(path).as_dict())
        sweep.tried()
    except (ArgumentError, TypeError, UnicodeDecodeError, SweepInvalid) as error:
        raise SweepInvalid(f'{path}: {" ".join(str(error).split())}') from error
    return sweep


def _distribution(name: str, what: Any) -> BaseDistribution:
    try:
        if isinstance(what, list):
            values = [_value(each) for each in what]
            if len(set(values)) == len(values):
                return CategoricalDistribution(values)
        limits = [what['low'], what['high']]
        if limits[0] < limits[1] and all(map(isfinite, limits)):
            whole = all(isinstance(limit, int) for limit in limits)
            kinds = distributions.FloatDistribution, distributions.IntDistribution
            return kinds[whole](**what)
    except (KeyError, TypeError, ValueError):
        pass
    raise SweepInvalid(
        f'{name} needs a list of different values, such as [0.25, 0.5], or a range such as '
        '{low: 0.1, high: 0.5}, with log: true only where low is above 0'
    )


def _value(value: Any) -> Value:
    """Return a list or mapping as the JSON that training.train reads, all else as it is."""
    return json.dumps(value) if isinstance(value, list | dict) else value
