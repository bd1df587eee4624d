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
"""The self-test passes right arithmetic only, and logits are finite and of one value per label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphs import alexnet
from sqz_perception.errors import BackendFailed, SelfTestFailed
from sqz_perception.inference import checks, processor
from sqz_perception.inference.backend import BACKENDS, Runtime
from sqz_perception.inference.checks import SELF_TEST_TOLERANCE, checked_logits, self_test
from sqz_perception.inference.choosing import prepare
from sqz_perception.inference.loading import build, load
from sqz_perception.model import file
from sqz_perception.model.network import Tensor
from tiny import int8_model, tiny_model, with_answers

FP32 = [Runtime(name, 'fp32') for name in BACKENDS]
PICTURE = np.zeros((24, 24, 3), np.uint8)
needs_int8 = pytest.mark.skipif(
    not processor.adds_int8_exactly(127), reason='this processor has no VNNI'
)


class Canned:
    """A backend that always gives the same logits."""

    precision, description = 'fp32', 'canned'

    def __init__(self, *logits: float) -> None:
        self._logits = np.array(logits, np.float32)

    def logits(self, picture: np.ndarray) -> np.ndarray:
        return self._logits

    def close(self) -> None:
        pass


def test_right_logits_pass() -> None:
    assert checked_logits(Canned(3.4e38, -3.4e38), PICTURE, 2).shape == (2,)


def test_a_model_that_needs_more_memory_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, 'MEMINFO', tmp_path / 'meminfo')
    checks.check_memory(alexnet())  # it can't be known
    (tmp_path / 'meminfo').write_text('MemFree: 1 kB\nMemAvailable:   1900000 kB\n')
    checks.check_memory(alexnet())
    (tmp_path / 'meminfo').write_text('MemFree: 1 kB\nMemAvailable:    900000 kB\n')
    with pytest.raises(BackendFailed, match=r'sketch needs about 9\d\d MiB and 879 MiB are avail'):
        prepare(alexnet(), FP32[0])


@pytest.mark.parametrize(
    ('logits', 'message'),
    [
        ([1, np.nan], 'not finite'),
        ([np.inf, 1], 'not finite'),
        ([1, -np.inf], 'not finite'),
        ([1], r'shape \(1,\) for 2 labels'),
        ([1, 2, 3], r'shape \(3,\) for 2 labels'),
    ],
)
def test_wrong_logits_are_a_named_error(logits: list[float], message: str) -> None:
    with pytest.raises(BackendFailed, match=f'canned: .*{message}'):
        checked_logits(Canned(*logits), PICTURE, 2)


def test_the_self_test_finds_a_wrong_weight() -> None:
    model = with_answers(tiny_model())
    wrong = model.tensors['squeeze.weight'].values.copy()
    wrong[0] = -wrong[0]
    tensors = {**model.tensors, 'squeeze.weight': Tensor('squeeze.weight', wrong)}
    changed = replace(model, tensors=tensors)
    backend = build(changed, FP32[0])
    with pytest.raises(SelfTestFailed, match='self-test of tiny is off by'):
        self_test(changed, backend)


def test_the_self_test_refuses_answers_that_are_no_numbers() -> None:
    with pytest.raises(SelfTestFailed):
        self_test(with_answers(tiny_model()), Canned(*[np.nan] * 5))


@needs_int8
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('reach', [1.0, 0.5])
def test_int8_is_judged_by_what_int8_should_give(
    backend: str, reach: float, tmp_path: Path
) -> None:
    """However far that is from fp32: ranges that suit photos may clip the made-up pictures."""
    model = with_answers(int8_model(reach=reach))
    file.write(model, tmp_path / 'm.sqz')
    loaded = load(tmp_path / 'm.sqz', Runtime(backend, 'int8'))
    assert loaded.backend.precision == 'int8'
    assert 'int8' in loaded.backend.description
    assert self_test(model, loaded.backend) < SELF_TEST_TOLERANCE['int8'] / 5
    rounded, exact = (np.concatenate(a) for a in (model.self_test.int8, model.self_test.logits))
    assert (np.linalg.norm(rounded - exact) > 0.2 * np.linalg.norm(exact)) == (reach < 1)


@needs_int8
@pytest.mark.parametrize('wrong', ['ranges', 'filters'])
def test_the_self_test_finds_a_wrong_int8_model(wrong: str) -> None:
    model = with_answers(int8_model())
    tensor = model.tensors['squeeze.weight']
    rolled = replace(tensor, values=np.roll(tensor.values, 1, axis=0))
    changed = {
        'ranges': replace(model, ranges={**model.ranges, 'relu1': model.ranges['relu1'] / 4}),
        'filters': replace(model, tensors={**model.tensors, tensor.name: rolled}),
    }[wrong]
    backend = build(changed, Runtime('openvino', 'int8'))
    with pytest.raises(SelfTestFailed, match=r'int8.*self-test of tiny is off by'):
        self_test(changed, backend)
