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
"""Times that can be compared: those that are measured take turns."""

from __future__ import annotations

import pytest

pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training.experiments import timing


def test_calls_take_turns_and_the_first_of_each_turn_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    now = 0.0
    costs = {'a': iter([9.0, 9.0, 1.0, 2.0] * 2), 'b': iter([9.0, 9.0, 5.0, 5.0, 9, 9, 7, 7])}

    def call(name: str) -> None:
        nonlocal now
        made.append(name)
        now += next(costs[name])

    monkeypatch.setattr(timing.time, 'perf_counter', lambda: now)
    calls = [lambda: call('a'), lambda: call('b')]
    assert timing.in_turns(calls, rounds=2, times=2, title='') == [1.5, 6]
    assert ''.join(made) == 'aaaabbbb' * 2
