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
"""Training computes in the precision that is measured to be fastest."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from tiny_runs import RECIPES, arguments  # noqa: E402
from training import train  # noqa: E402
from training.fitting import precision  # noqa: E402
from training.fitting.learner import Learner  # noqa: E402
from training.networks.architecture import Architecture  # noqa: E402

CPU = torch.device('cpu')


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> Learner:
    monkeypatch.setattr(precision, '_measured', {})
    monkeypatch.setitem(precision.PIXELS, 'cpu', 32**2)
    return Learner(('dock', 'shelf'), 32, architecture=Architecture())


@pytest.fixture
def bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say in /proc/cpuinfo that the processor has bf16."""
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text('flags : fma avx2 avx512_bf16', encoding='utf-8')
    monkeypatch.setattr(precision, 'CPUINFO', cpuinfo)


def given(bf16: float, fp32: float, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Let a step take so many seconds; return the list of what is measured."""
    asked: list[object] = []

    def seconds(learner: Learner, device: torch.device) -> dict[torch.dtype, float]:
        asked.append(device)
        return {torch.bfloat16: bf16, torch.float32: fp32}

    monkeypatch.setattr(precision, 'step_seconds', seconds)
    return asked


@pytest.mark.parametrize('recipe', sorted(RECIPES.glob('*.yaml')), ids=lambda path: path.name)
def test_no_recipe_says_what_the_machine_must_know(recipe: Path) -> None:
    assert 'precision' not in recipe.read_text(encoding='utf-8')


@pytest.mark.parametrize(('seconds', 'expected'), [(1.0, 'bf16-mixed'), (3.0, '32-true')])
def test_a_run_takes_the_fastest(
    seconds: float,
    expected: str,
    bf16: None,
    learner: Learner,
    colors: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given(seconds, 2.0, monkeypatch)
    line = arguments(colors, tmp_path, 1)
    at = line.index('--trainer.precision')
    chosen = train.prepared(line[:at] + line[at + 2 :]).trainer.precision
    assert chosen == expected
    assert train.prepared(line).trainer.precision == '32-true'  # as it says


def test_a_network_is_measured_once_and_the_figures_are_printed(
    bf16: None,
    learner: Learner,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = given(0.0123, 0.0052, monkeypatch)
    assert [precision.fastest(learner, CPU) for _ in range(3)] == [torch.float32] * 3
    assert len(asked) == 1
    line = 'precision: fp32; a step takes bf16 12.3 ms, fp32 5.2 ms\n'
    assert capsys.readouterr().err == line


def test_without_the_flag_nothing_is_measured(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = given(1.0, 2.0, monkeypatch)
    for text in (None, 'flags : fma avx2'):
        monkeypatch.setattr(precision, 'CPUINFO', tmp_path / str(text is None))
        if text:
            (tmp_path / 'False').write_text(text)
        assert precision.of_trainer(learner, 'cpu') == '32-true'
    assert not asked


def test_a_gpu_is_asked_where_the_trainer_would_take_one(
    bf16: None, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = given(1.0, 2.0, monkeypatch)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda **_: True)
    assert {precision.of_trainer(learner, name) for name in ('auto', 'gpu')} == {'bf16-mixed'}
    precision.of_trainer(learner, 'cpu')
    assert asked == [torch.device('cuda'), CPU]


def test_measuring_leaves_the_network_and_the_random_numbers_alone(
    bf16: None, learner: Learner
) -> None:
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    torch.manual_seed(7)
    seconds = precision.step_seconds(learner, CPU)
    after = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(after, torch.rand(3))
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())
    assert all(parameter.grad is None for parameter in learner.parameters())
    assert set(seconds) == {torch.bfloat16, torch.float32}
    assert min(seconds.values()) > 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_answers_are_in_the_fastest(
    dtype: torch.dtype, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, 'fastest', lambda *_: dtype)
    values = torch.ones(2, 2)
    with precision.autocast(learner):
        assert (values @ values).dtype == dtype
