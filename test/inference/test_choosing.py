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
"""Whatever is fastest is measured, among what passes the self-test, and remembered."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sqz_perception.errors import BackendFailed, BackendUnavailable, LoadCancelled, SelfTestFailed
from sqz_perception.inference import backend, cache, choosing
from sqz_perception.inference.backend import BACKENDS, Backend, Runtime
from sqz_perception.inference.choosing import Prepared, prepare
from sqz_perception.model.network import Model
from tiny import int8_model, with_answers

MODEL = with_answers(int8_model())


class Paced:
    """A backend that takes a given time and gives the right answers, or wrong ones."""

    def __init__(self, precision: str, milliseconds: float, right: bool) -> None:
        self.precision, self.description = precision, f'paced {precision}'
        self._milliseconds, self._right = milliseconds, right
        self.runs, self.open = 0, True

    def logits(self, picture: np.ndarray) -> np.ndarray:
        assert self.open
        time.sleep(self._milliseconds / 1e3)
        self.runs += 1
        answers = MODEL.self_test.int8 if self.precision == 'int8' else MODEL.self_test.logits
        logits = answers[(self.runs - 1) % len(answers)]  # the self-test asks in their order
        return np.array(logits, np.float32) * (1 if self._right else 2)

    def close(self) -> None:
        self.open = False


class Machine:
    """Runtimes whose speeds are given, in milliseconds: 'openvino fp32' -> 3.0."""

    def __init__(self, **speeds: float | Exception) -> None:
        self.speeds = {key.replace('_', ' '): value for key, value in speeds.items()}
        self.wrong: set[str] = set()
        self.made: list[tuple[str, Paced]] = []

    def library(self, name: str) -> Library:
        if name not in {key.split()[0] for key in self.speeds}:
            raise BackendUnavailable(f'{name} cannot be imported; pip install {name}')
        return Library(self, name)

    @property
    def still_open(self) -> list[str]:
        return [name for name, made in self.made if made.open]


class Library:
    def __init__(self, machine: Machine, name: str) -> None:
        self._machine, self._name = machine, name
        self.PRECISIONS = tuple(key.split()[1] for key in machine.speeds if key.split()[0] == name)

    def check(self, model: Model, precision: str) -> None:
        speed = self._machine.speeds[f'{self._name} {precision}']
        if isinstance(speed, BackendUnavailable):
            raise speed

    def build(self, model: Model, precision: str, threads: int) -> Backend:
        key = f'{self._name} {precision}'
        speed = self._machine.speeds[key]
        if isinstance(speed, Exception):
            raise speed
        made = Paced(precision, speed, key not in self._machine.wrong)
        self._machine.made.append((key, made))
        return made


@pytest.fixture(autouse=True)
def calm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with an empty cache; other tests on the machine are no reason not to remember."""
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / 'cache'))
    monkeypatch.setattr(choosing, 'BUSY', 1e9)


def prepared(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, runtime: Runtime | None = None
) -> Prepared:
    monkeypatch.setattr(backend, 'library', machine.library)
    machine.made.clear()
    return prepare(MODEL, runtime or Runtime())


def test_the_fastest_is_taken_and_all_figures_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_int8=8, openvino_bf16=20, openvino_fp32=2, onnxruntime_fp32=6)
    ready = prepared(machine, monkeypatch)
    assert str(ready.candidate) == 'openvino fp32'
    assert ready.why.startswith('the fastest of ')
    for key, speed in machine.speeds.items():
        (figure,) = [part for part in ready.why.split(', ') if key in part]
        assert float(figure.split()[-2]) >= speed
    assert machine.still_open == ['openvino fp32']
    assert ready.milliseconds >= 2


def test_the_next_start_does_not_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_int8=8, openvino_fp32=2, onnxruntime_fp32=6)
    first = prepared(machine, monkeypatch)
    again = prepared(machine, monkeypatch)
    assert again.candidate == first.candidate
    assert [name for name, _ in machine.made] == ['openvino fp32']
    assert again.why.startswith('the fastest at an earlier start: openvino int8 ')


def test_what_was_asked_for_is_measured_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_int8=6, openvino_fp32=2, onnxruntime_fp32=8, onnxruntime_int8=6)
    assert str(prepared(machine, monkeypatch).candidate) == 'openvino fp32'
    asked = prepared(machine, monkeypatch, Runtime('onnxruntime'))
    assert str(asked.candidate) == 'onnxruntime int8'
    asked = prepared(machine, monkeypatch, Runtime(precision='int8', threads=1))
    assert asked.candidate.precision == 'int8'
    asked = prepared(machine, monkeypatch, Runtime('onnxruntime', 'fp32'))
    assert (str(asked.candidate), asked.why) == ('onnxruntime fp32', 'asked for')
    assert [name for name, _ in machine.made] == ['onnxruntime fp32']


def test_wrong_answers_are_skipped_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_int8=1, openvino_fp32=4, onnxruntime_fp32=20)
    machine.wrong = {'openvino int8'}
    ready = prepared(machine, monkeypatch)
    assert str(ready.candidate) == 'openvino fp32'
    assert 'paced int8: the self-test of tiny is off by' in ready.why
    assert 'openvino int8' not in ready.why
    machine.wrong = set()  # other weights of the same network: nothing was remembered
    assert str(prepared(machine, monkeypatch).candidate) == 'openvino int8'
    machine.wrong = {'openvino int8'}  # remembered, but wrong for these weights
    assert str(prepared(machine, monkeypatch).candidate) == 'openvino fp32'


def test_what_cannot_be_had_or_built_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(
        openvino_int8=BackendUnavailable('no VNNI here; set precision to auto'),
        openvino_bf16=BackendFailed('OpenVINO refused the model: out of luck'),
        openvino_fp32=2,
    )
    ready = prepared(machine, monkeypatch)
    assert str(ready.candidate) == 'openvino fp32'
    for reason in ('no VNNI here', 'out of luck', 'onnxruntime cannot be imported'):
        assert f'; {reason}' in ready.why or f': {reason}' in ready.why
    assert 'set precision' not in ready.why


def test_where_nothing_passes_the_error_gives_the_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_int8=1, openvino_fp32=1)
    machine.wrong = {'openvino int8', 'openvino fp32'}
    with pytest.raises(SelfTestFailed, match='paced int8: .*; paced fp32: .*; try another') as e:
        prepared(machine, monkeypatch)
    assert str(e.value).count('try another') == 1
    assert not machine.still_open
    machine.speeds['onnxruntime fp32'] = BackendFailed('ONNX Runtime refused the model: why not')
    with pytest.raises(BackendFailed, match='paced int8: .*; ONNX Runtime refused the model'):
        prepared(machine, monkeypatch)
    with pytest.raises(BackendUnavailable, match='openvino cannot .*; onnxruntime cannot'):
        prepared(Machine(), monkeypatch)


def test_two_that_are_equally_fast_are_timed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(openvino_bf16=2, openvino_fp32=2.05, onnxruntime_fp32=30)
    prepared(machine, monkeypatch)
    runs = Counter({name: made.runs for name, made in machine.made})
    assert runs['openvino bf16'] > 20
    assert runs['onnxruntime fp32'] < 20


def test_what_a_busy_machine_measures_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, 'BUSY', 1.0)  # no run is the best
    machine = Machine(openvino_int8=4, openvino_fp32=2)
    assert prepared(machine, monkeypatch).why.endswith('not remembered: the machine was busy')
    prepared(machine, monkeypatch)
    assert len(machine.made) == 2


@pytest.mark.parametrize('stage', range(0, 27, 2))
def test_a_cancelled_preparation_closes_what_it_built(
    stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(openvino_int8=1, openvino_fp32=2, onnxruntime_fp32=3)
    monkeypatch.setattr(backend, 'library', machine.library)
    calls = iter(range(1000))

    def proceed() -> None:
        if next(calls) == stage:
            raise LoadCancelled('enough')

    with pytest.raises(LoadCancelled):
        prepare(MODEL, Runtime(), proceed)
    assert not machine.still_open


def test_real_runtimes_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_answers(int8_model())
    ready = prepare(model, Runtime())
    for name in BACKENDS:
        assert f'{name} fp32 ' in ready.why
    again = prepare(model, Runtime())
    assert again.deviation < 0.1
    named = prepare(model, Runtime(ready.candidate.backend, ready.candidate.precision))
    assert named.candidate == ready.candidate
