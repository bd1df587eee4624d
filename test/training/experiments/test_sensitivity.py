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
"""The choice of densities and of layers to widen, from scans whose best answer is known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from training.errors import CompressionFailed  # noqa: E402
from training.experiments.sensitivity import Point, Scan, Score, choose, hull, widened, widenings  # noqa: E402
from training.networks.architecture import Architecture  # noqa: E402
from training.networks.models import SqueezeNet  # noqa: E402

WHOLE = Score(90.0, 0.5)
SIZES = {'large': 900, 'small': 100, 'middle': 500}
RISES = {  # of the loss at each density
    'large': {1.0: 0.0, 0.5: 0.01, 0.25: 0.2, 0.125: 2.0},
    'small': {1.0: 0.0, 0.5: 0.3, 0.25: 0.9, 0.125: 2.0},
    'middle': {1.0: 0.0, 0.5: 0.1, 0.25: 0.3, 0.125: 0.8},
}


def scanned(rises: Mapping[str, Mapping[float, float]]) -> Scan:
    points = [
        Point(name, SIZES[name], density, Score(WHOLE.top1, WHOLE.loss + rise))
        for name, curve in rises.items()
        for density, rise in curve.items()
    ]
    return Scan(WHOLE, tuple(points))


def left(chosen: Mapping[str, float]) -> float:
    return sum(SIZES[name] * density for name, density in chosen.items()) / sum(SIZES.values())


@pytest.mark.parametrize('overall', [1.0, 0.8, 0.5, 0.33, 0.2, 0.125])
def test_exactly_the_target_is_left(overall: float) -> None:
    chosen = choose(scanned(RISES), overall)
    assert left(chosen) == pytest.approx(overall)
    assert all(0.125 <= density <= 1 for density in chosen.values())


def test_no_other_choice_with_as_few_weights_costs_less() -> None:
    densities = (1, 0.5, 0.25, 0.125)
    cases = [dict(zip(RISES, case, strict=True)) for case in product(densities, repeat=3)]
    seen = 0
    for case in cases:
        chosen = choose(scanned(RISES), left(case))
        if any(density not in RISES[name] for name, density in chosen.items()):
            continue  # between two points
        seen += 1
        costs = {
            tuple(one.values()): sum(RISES[name][density] for name, density in one.items())
            for one in cases
            if left(one) <= left(case) + 1e-9
        }
        found = sum(RISES[name][density] for name, density in chosen.items())
        assert found == pytest.approx(min(costs.values()))
    assert seen > 3


def test_a_layer_that_costs_nothing_goes_first_and_a_sensitive_one_stays() -> None:
    rises = {
        'large': {1.0: 0.0, 0.5: 5.0, 0.1: 9.0},
        'small': {1.0: 0.0, 0.5: 0.0, 0.1: 0.0},
        'middle': {1.0: 0.0, 0.5: -0.1, 0.1: 0.2},
    }
    chosen = choose(scanned(rises), 0.7)
    assert chosen['small'] == pytest.approx(0.1)
    assert chosen['middle'] < 0.5
    assert chosen['large'] > 0.9


def test_a_point_above_the_line_of_its_neighbours_is_passed_over() -> None:
    assert hull(((1.0, 0.0), (0.75, 0.9), (0.5, 1.0), (0.25, 4.0))) == [
        (1.0, 0.0),
        (0.5, 1.0),
        (0.25, 4.0),
    ]


@pytest.mark.parametrize('overall', [0.1, 0.1249])
def test_a_target_below_all_that_was_scanned_is_refused(overall: float) -> None:
    with pytest.raises(CompressionFailed, match='scan lower ones too with --densities'):
        choose(scanned(RISES), overall)


def test_layers_to_widen_are_those_that_lose_most_for_each_parameter() -> None:
    architecture = Architecture(stem='small', fires=3, classes=10, widen={'fire4.expand3x3': 2.0})
    tops = {  # top-1 at a density of 0.5
        'conv1': 10.0,
        'fires.fire2.squeeze1x1': 20.0,
        'fires.fire2.expand1x1': 89.0,
        'fires.fire2.expand3x3': 89.0,
        'fires.fire3.expand3x3': 91.0,
        'fires.fire4.expand3x3': 50.0,
    }
    found = Scan(WHOLE, tuple(Point(n, 1, 0.5, Score(top1, 1.0)) for n, top1 in tops.items()))
    rows = widenings(found, 0.5, architecture)
    assert [row.layer for row in rows] == [
        'fire4.expand3x3',
        'fire2.expand1x1',
        'fire2.expand3x3',
    ]
    assert rows[0].drop == 40
    widen = widened(architecture, [rows[0].layer, rows[1].layer])
    assert widen == {'fire4.expand3x3': 3.0, 'fire2.expand1x1': 1.5}
    before, after = (
        sum(p.numel() for p in SqueezeNet(one).parameters())
        for one in (
            architecture,
            Architecture(stem='small', fires=3, classes=10, widen={'fire4.expand3x3': 3.0}),
        )
    )
    assert rows[0].added == after - before > 0
