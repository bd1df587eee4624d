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
What of a model runs in int8.

A convolution does where its weight has levels and its input a range; elsewhere it runs in floating
point on the same weights. A value with a range is kept as a whole number of steps, zero at zero:
from 0 to 255 where it is never negative, else from -128 to 127.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqz_perception.errors import ModelFloatOnly
from sqz_perception.model.network import IMAGE, Model

SIGNED_LEVELS = 127  # the level whose value is the range
UNSIGNED_LEVELS = 255


@dataclass(frozen=True)
class Levels:
    """What int8 keeps of a value: a multiple of ``step``, from ``lowest`` to ``highest`` of it."""

    step: float
    lowest: int  # steps
    highest: int


def runs_in_int8(model: Model) -> bool:
    """Return whether any convolution has what int8 needs."""
    return bool(int8_inputs(model))


def check_int8(model: Model) -> None:
    """Raise ModelFloatOnly where no convolution has what int8 needs."""
    if not runs_in_int8(model):
        raise ModelFloatOnly(
            f'{model.name} has no int8 weights with activation ranges, it runs in floating point '
            'only; make a model that has them with python -m training.compress'
        )


def largest_level(model: Model) -> int:
    """Return the largest magnitude of the levels that run in int8; 0 where there are none."""
    levels = [model.tensors[f'{name}.weight'].values for name in int8_inputs(model)]
    return max((max(int(v.max()), -int(v.min())) for v in levels), default=0)


def int8_inputs(model: Model) -> dict[str, str]:
    """Return the convolutions that run in int8: name -> the value that is quantised for it."""
    return {
        name: value
        for name, value in quantised_values(model).items()
        if value in model.ranges and model.tensors[f'{name}.weight'].step is not None
    }


def kept_levels(model: Model, *, signed: bool = False) -> dict[str, Levels]:
    """
    Return the levels of each value that is quantised, by its name.

    ``signed``: below zero too, half as fine, for those that are never negative.
    """
    unsigned = set() if signed else never_negative(model)
    return {
        name: levels_of(model.ranges[name], name in unsigned)
        for name in int8_inputs(model).values()
    }


def levels_of(reach: float, unsigned: bool) -> Levels:
    """Return the levels of a value with that range; ``unsigned`` where it is never negative."""
    if unsigned:
        return Levels(reach / UNSIGNED_LEVELS, 0, UNSIGNED_LEVELS)
    return Levels(reach / SIGNED_LEVELS, -SIGNED_LEVELS - 1, SIGNED_LEVELS)


def quantised_values(model: Model) -> dict[str, str]:
    """
    Return for each convolution, by name, the value that needs a range for it to run in int8.

    That is its input, or what the max pool before it takes: a pool of levels gives levels.
    """
    origin = {IMAGE: IMAGE}  # of each value, before the pools
    found = {}
    for node in model.nodes:
        origin[node.name] = origin[node.inputs[0]] if node.op == 'max_pool' else node.name
        if node.op == 'conv':
            found[node.name] = origin[node.inputs[0]]
    return found


def never_negative(model: Model) -> set[str]:
    """Return the nodes whose output can't be below zero."""
    found: set[str] = set()
    for node in model.nodes:
        passes_on = node.op != 'conv' and found.issuperset(node.inputs)
        if node.op == 'relu' or passes_on:
            found.add(node.name)
    return found
