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
"""What of a model runs in int8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sqz_perception.model.int8 import int8_inputs, largest_level, never_negative, runs_in_int8
from tiny import int8_model, tiny_model


def test_the_range_of_a_pool_is_that_of_what_it_takes() -> None:
    assert int8_inputs(int8_model()) == {
        'conv1': 'image',
        'squeeze': 'relu1',
        'expand1x1': 'squeeze',
        'expand3x3': 'squeeze',
        'conv10': 'relu2',
    }


def test_without_levels_or_ranges_nothing_runs_in_int8() -> None:
    for model in (tiny_model(), tiny_model(dtype=np.int8)):
        assert not runs_in_int8(model)
        assert largest_level(model) == 0
    assert not runs_in_int8(replace(int8_model(), tensors=tiny_model().tensors))


def test_the_largest_level_is_of_what_runs_in_int8() -> None:
    model = int8_model()
    weight = model.tensors['conv10.weight']
    small = {
        name: replace(tensor, values=tensor.values // 4)
        for name, tensor in model.tensors.items()
        if tensor.step is not None
    }
    lowest = replace(weight, values=np.full_like(weight.values, -128))
    model = replace(model, tensors={**model.tensors, **small, 'conv10.weight': lowest})
    assert largest_level(model) == 128
    ranges = {name: reach for name, reach in model.ranges.items() if name != 'relu2'}
    assert largest_level(replace(model, ranges=ranges)) == 32


def test_what_is_never_negative() -> None:
    assert never_negative(tiny_model()) == {'relu1', 'pool1', 'relu2'}
