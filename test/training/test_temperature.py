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
"""Scores that say how often they are right: the factor found, and a file that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip('tqdm', reason='training needs tqdm, which make test installs')

from class_pictures import noisy_picture, png
from sqz_perception.errors import ModelInvalid
from sqz_perception.inference import frames
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import load
from sqz_perception.model import file, steps
from sqz_perception.model.network import Model, Node, Tensor, self_test_picture
from tiny import LABELS, int8_model, tiny_model
from training import temperature
from training.errors import DataError
from training.model_files.reference import logits

PICTURES = 120
FP32 = ('--backend', 'onnxruntime', '--precision', 'fp32')
STORED = ('float32', 'float16', 'codebook', 'int8', 'int8, steps on the grid')
Answers = tuple[NDArray[np.float32], NDArray[np.int64]]
Line = Callable[[Model, float], list[str]]


@pytest.fixture(scope='module')
def calibrated() -> Answers:
    """Return logits (N, 10) and classes (N,) that are right as often as the scores say."""
    draw = np.random.default_rng(1)
    found = draw.normal(0, 2, (20_000, 10))
    noise = draw.gumbel(size=found.shape)  # the largest sum is drawn with the scores' odds
    return found.astype(np.float32), (found + noise).argmax(axis=1)


@pytest.fixture
def line(tmp_path: Path, archive_of: Callable[[dict[str, bytes]], Path]) -> Line:
    """
    Return a function that writes a model, in.sqz, and pictures, and gives the command for them.

    The class of a picture is what the model says, but for a share ``wrong``, which has any.
    """

    def write(model: Model, wrong: float) -> list[str]:
        file.write(model, tmp_path / 'in.sqz')
        draw = np.random.default_rng(2)
        members = {}
        for i in range(PICTURES):
            picture = noisy_picture(tuple(draw.integers(0, 255, 3)), i, 40)
            best = int(logits(model, frames.fit(picture, model.input)).argmax())
            number = draw.integers(len(LABELS)) if draw.random() < wrong else best
            members[f'{number:02d}_{i}.png'] = png(picture)
        images = str(archive_of(members))
        return [str(tmp_path / 'in.sqz'), '--images', images, *FP32]

    return write


@pytest.mark.parametrize('code', [-9, 0, 4])
def test_the_factor_takes_back_another(calibrated: Answers, code: int) -> None:
    found, truth = calibrated
    assert temperature.best_factor(found / steps.step_of(code), truth) == code


def test_pictures_that_can_not_tell_are_refused(calibrated: Answers) -> None:
    found, truth = calibrated
    with pytest.raises(DataError, match='99 pictures .*; give 100 or more'):
        temperature.best_factor(found[:99], truth[:99])
    with pytest.raises(DataError, match='too few of the 20,000 answers are wrong'):
        temperature.best_factor(found, found.argmax(axis=1))
    with pytest.raises(DataError, match='no better than chance'):
        temperature.best_factor(found, found.argmin(axis=1))


@pytest.mark.parametrize('how', STORED)
def test_all_logits_are_scaled_and_nothing_else(how: str) -> None:
    model = stored_as(how)
    changed = temperature.scaled(model, 4)
    for seed in (5, 6):
        picture = self_test_picture(seed, model.input)
        for int8 in (False, True) if model.ranges else (False,):
            before, after = (logits(m, picture, int8=int8) for m in (model, changed))
            np.testing.assert_allclose(after, 2**0.5 * before, rtol=2e-3, atol=2e-3)
    last = temperature.last_convolution(model)
    for name, tensor in model.tensors.items():
        own = changed.tensors[name]
        if name not in (last.weight, last.bias):
            assert own is tensor
        if tensor.step is not None or tensor.codebook is not None:
            assert own.values is tensor.values
    assert file.decode(file.encode(changed)).self_test == changed.self_test


def test_a_compressed_file_keeps_its_size() -> None:
    """Its steps stay on the grid on which they cost a byte."""
    model = stored_as('int8, steps on the grid')
    sizes = [len(file.encode(temperature.scaled(model, code))) for code in (0, 1, 4, -8)]
    assert max(sizes) - min(sizes) <= 8  # the digits of the self-test's logits


def test_logits_of_no_convolution_are_refused() -> None:
    model = tiny_model()
    end = model.nodes[-1].name
    doubled = replace(model, nodes=(*model.nodes, Node('add', 'twice', (end, end))))
    with pytest.raises(ModelInvalid, match=r"logits in 'twice' \(add\); only those of a conv"):
        temperature.scaled(doubled, 1)


def test_weights_that_become_too_large_are_refused() -> None:
    model = tiny_model()
    weight = model.tensors['conv10.weight']
    large = replace(weight, values=weight.values + np.float16(60_000))
    with pytest.raises(ModelInvalid, match='conv10 .* float16 can not hold; export .* float32'):
        temperature.scaled(replace(model, tensors={**model.tensors, large.name: large}), 4)


def test_command_writes_a_file_that_runs(
    tmp_path: Path, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out.sqz'
    asked = line(int8_model(), 0.3)
    assert temperature.main([*asked, '-o', str(out), '--release', '7']) == 0
    shown = capsys.readouterr().out
    figures = {row.split()[0]: row.split()[1:] for row in shown.splitlines() if row[:4] == 'loss'}
    before, after = (float(value) for value in figures['loss'])
    assert after < before
    assert 'release 7' in shown
    load(out, Runtime('onnxruntime', 'fp32', 1))  # raises where the self-test fails
    assert file.read(out).self_test.int8
    assert temperature.main([str(out), *asked[1:], '-o', str(out)]) == 0
    assert 'logits times 1.000' in capsys.readouterr().out


def test_command_refuses_in_one_line(
    tmp_path: Path, line: Line, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out.sqz'
    asked = line(tiny_model(), 0.0)
    cases = {
        'too few of the 120 answers are wrong': ['-o', str(out)],
        '50 pictures to find one factor with': ['-o', str(out), '--limit', '50'],
        'release': ['-o', str(out), '--release', str(2**40)],
        'there is no folder': ['-o', str(tmp_path / 'nowhere' / 'out.sqz')],
    }
    for message, more in cases.items():
        assert temperature.main([*asked, *more]) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert said.startswith('error: ')
        assert message in said
    assert not out.exists()


def stored_as(how: str) -> Model:
    """Return a model whose weights are stored that way."""
    if how in ('float16', 'float32'):
        return tiny_model(dtype=np.dtype(how).type)
    model = int8_model()
    if how == 'int8':
        return model
    stored = _on_the_grid if how == 'int8, steps on the grid' else _shared
    return replace(model, tensors={name: stored(t) for name, t in model.tensors.items()})


def _on_the_grid(tensor: Tensor) -> Tensor:
    if tensor.step is None:
        return tensor
    return replace(tensor, step=steps.step_of(steps.nearest_code(tensor.step)))


def _shared(tensor: Tensor) -> Tensor:
    if tensor.step is None:
        return tensor
    codebook, codes = np.unique(tensor.dense().round(1), return_inverse=True)
    codes = codes.reshape(tensor.values.shape).astype(np.uint8)
    return Tensor(tensor.name, codes, codebook=codebook.astype(np.float32))
