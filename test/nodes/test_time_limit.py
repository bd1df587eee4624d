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
"""The longest accepted time per frame of a new model."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from sqz_perception.errors import SwapRefused
from sqz_perception.nodes.time_limit import TimeLimit


def model(milliseconds: float) -> Any:
    return SimpleNamespace(path='new.sqz', milliseconds=milliseconds)


@pytest.mark.parametrize(
    ('parameter', 'rate', 'current', 'recent', 'limit'),
    [
        (-1.0, 10.0, 4.0, [], 100.0),  # what a camera of 10 Hz leaves
        (-1.0, 20.0, 4.0, [], 50.0),
        (-1.0, 300.0, 1.0, [], 10.0),  # never less
        (-1.0, 30.0, 40.0, [], 80.0),  # the model in use is too slow already
        (-1.0, 30.0, 20.0, [50.0, 60.0, 55.0], 110.0),  # and slower beside other work
        (-1.0, 0.0, 4.0, [5.0], math.inf),  # no camera yet
        (0.0, 10.0, 4.0, [5.0], math.inf),
        (0.02, 10.0, 4.0, [5.0], 20.0),
    ],
)
def test_the_limit(
    parameter: float, rate: float, current: float, recent: list[float], limit: float
) -> None:
    found = TimeLimit(lambda: parameter, lambda: rate)
    for milliseconds in recent:
        found.on_result(milliseconds)
    assert found.milliseconds(model(current)) == pytest.approx(limit)
    found.check(model(min(limit, 1e6)), model(current))
    if limit < math.inf:
        with pytest.raises(SwapRefused, match=r'new\.sqz: takes .* ms per frame, the limit is'):
            found.check(model(limit + 1), model(current))


def test_another_model_has_its_own_times() -> None:
    limit = TimeLimit(lambda: -1.0, lambda: 100.0)
    limit.on_result(500.0)
    limit.forget()
    assert limit.milliseconds(model(1.0)) == 10.0


@pytest.mark.parametrize(('parameter', 'warned'), [(-1.0, False), (0.0, False), (0.001, True)])
def test_a_first_model_is_never_refused(parameter: float, warned: bool) -> None:
    limit = TimeLimit(lambda: parameter, lambda: 30.0)
    limit.check(model(0.5), None)
    assert bool(limit.warning(model(2.0))) == warned
