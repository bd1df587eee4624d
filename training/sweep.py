# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
What a sweep file says: which values of a recipe are tried, and how they are chosen.

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

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from math import isfinite, prod
from pathlib import Path
from typing import Any

import yaml

from sqz_perception.errors import SweepInvalid

SEED = 'seed_everything'  # whose values are not networks, but runs of one
RANGE = {'low', 'high', 'log'}
METHODS = ('grid', 'tpe', 'random')
# What the sweep itself decides for each training, and so can't vary.
OWN = ('config', 'ckpt_path', 'data.path', 'trainer.default_root_dir', 'trainer.max_epochs')
EXPONENT = re.compile(r'[-+]?[\d.]+[eE][-+]?\d+')  # 1e-3, which YAML takes for a text

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, whole ones where both are; ``log``: each decade alike."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Tell whether its numbers are whole ones."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = Mapping[str, Range | tuple[Value, ...]]


@dataclass(frozen=True)
class Sweep:
    """
    Trainings that differ in a few values of one recipe.

    :param recipe: Of training.train.
    :param epochs: Of each training.
    :param space: Name of a value in the recipe -> what is tried for it.
    :param method: 'grid', 'tpe' (tree-structured Parzen estimator, Bergstra et al., NIPS 2011) or
        'random'.
    :param trials: Trainings of tpe and random; a grid has as many as it has points.
    :param prune: End a training that is worse than the median of the others at the same epoch.
    :param seed: Of the choice of values, and of each training if the space does not vary it.
    """

    recipe: Path
    epochs: int
    space: Space
    method: str = 'grid'
    trials: int = 0
    prune: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse, in one line, what describes no sweep."""
        ranges = [name for name, tried in self.space.items() if isinstance(tried, Range)]
        own = sorted(set(self.space) & set(OWN))
        grid = self.method == 'grid'
        checks = {
            f'{self.recipe} does not exist; name a recipe of training.train': (
                self.recipe.is_file()
            ),
            'epochs is a whole number from 1': _whole(self.epochs, 1),
            'seed is a whole number from 0': _whole(self.seed, 0),
            'prune is true or false': isinstance(self.prune, bool),
            f'method is one of {", ".join(METHODS)}': self.method in METHODS,
            'space is empty; name values of the recipe and what to try for them': self.space,
            f'{"".join(own[:1])} is decided by the sweep and not varied': not own,
            f'a grid takes lists; give {"".join(ranges[:1])} a list of values, or choose method '
            'tpe or random': not (grid and ranges),
            'a grid has a trial for each combination; leave out trials': not grid
            or not self.trials,
            f'{self.method} needs trials, a whole number from 1': grid or _whole(self.trials, 1),
        }
        for message, holds in checks.items():
            if not holds:
                raise SweepInvalid(message)

    @property
    def total(self) -> int:
        """How many trainings there are."""
        if self.method != 'grid':
            return self.trials
        return prod(len(tried) for tried in self.space.values() if isinstance(tried, tuple))

    def point(self, number: int) -> dict[str, Value]:
        """Return the values of trial ``number`` of a grid."""
        lists = [tried for tried in self.space.values() if isinstance(tried, tuple)]
        point = next(itertools.islice(itertools.product(*lists), number, None))
        return dict(zip(self.space, point, strict=True))


def read(path: Path) -> Sweep:
    """Read a sweep file. Raises SweepInvalid, saying which file."""
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = ' '.join(str(error).split())
        raise SweepInvalid(f'{path} is no YAML: {reason}') from error
    try:
        return _sweep(content, path.parent)
    except SweepInvalid as error:
        raise SweepInvalid(f'{path}: {error}') from error


def argument(name: str, value: Value) -> str:
    """Return what gives ``value`` to training.train."""
    return f'--{name}={value if isinstance(value, str) else json.dumps(value)}'


def shown(values: Mapping[str, Value]) -> str:
    """Return the values of a trial for people."""
    return ', '.join(f'{name.split(".")[-1]} {_brief(value)}' for name, value in values.items())


def _sweep(content: Any, folder: Path) -> Sweep:
    if not isinstance(content, dict):
        raise SweepInvalid('a sweep file has keys and values, such as recipe: cifar10.yaml')
    known = {field.name: field.default is MISSING for field in fields(Sweep)}
    unknown = [str(key) for key in content if key not in known]
    missing = [name for name, needed in known.items() if needed and name not in content]
    if unknown:
        raise SweepInvalid(f'there is no {unknown[0]} in a sweep; there are {", ".join(known)}')
    if missing:
        raise SweepInvalid(f'{missing[0]} is missing')
    space = content['space'] or {}
    if not isinstance(space, dict):
        raise SweepInvalid('space has a name and what to try for it in each line')
    tried = {str(name): _tried(str(name), what) for name, what in space.items()}
    return Sweep(**{**content, 'recipe': folder / str(content['recipe']), 'space': tried})


def _tried(name: str, what: Any) -> Range | tuple[Value, ...]:
    if isinstance(what, dict):
        return _range(name, what)
    if not isinstance(what, list) or not what:
        raise SweepInvalid(
            f'{name} needs a list of values, such as [0.25, 0.5], or {{low: 0.1, high: 0.5}}'
        )
    values = tuple(_value(value) for value in what)
    if len(set(values)) < len(values):
        raise SweepInvalid(f'{name} has a value twice')
    return values


def _range(name: str, what: dict[str, Any]) -> Range:
    low: Any = _value(what.get('low'))
    high: Any = _value(what.get('high'))
    log = what.get('log', False)
    holds = _number(low) and _number(high) and low < high and not set(what) - RANGE
    if not (holds and isinstance(log, bool) and (low > 0 or not log)):
        raise SweepInvalid(
            f'{name}: a range is {{low: 0.1, high: 0.5}}, low below high, and may have log: true '
            'where low is above 0'
        )
    return Range(low, high, log)


def _value(value: Any) -> Value:
    """Return a value as it is, but a list or mapping as the JSON that training.train reads."""
    if isinstance(value, str):
        return float(value) if EXPONENT.fullmatch(value) else value
    if value is None or isinstance(value, bool | int | float):
        return value
    return json.dumps(value)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _brief(value: Value) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
