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
"""Training computes in bf16 where the machine does not have to emulate it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from tiny_runs import RECIPES, arguments  # noqa: E402
from training import train  # noqa: E402
from training.fitting import precision  # noqa: E402

OLD, NEW = 'flags : fma avx2', 'flags : fma avx2 avx512_bf16'


@pytest.fixture(params=[OLD, NEW])
def processor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return what /proc/cpuinfo says."""
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text(request.param, encoding='utf-8')
    monkeypatch.setattr(precision, 'CPUINFO', cpuinfo)
    return request.param


@pytest.mark.parametrize('recipe', sorted(RECIPES.glob('*.yaml')), ids=lambda path: path.name)
def test_no_recipe_says_what_the_machine_must_know(recipe: Path) -> None:
    assert 'precision' not in recipe.read_text(encoding='utf-8')


def test_a_run_takes_what_the_processor_has(processor: str, colors: Path, tmp_path: Path) -> None:
    line = arguments(colors, tmp_path, 1)
    given = line.index('--trainer.precision')
    chosen = train.prepared(line[:given] + line[given + 2 :]).trainer.precision
    assert chosen == ('bf16-mixed' if processor == NEW else '32-true')
    assert train.prepared(line).trainer.precision == '32-true'  # as it says


def test_a_gpu_is_asked_where_the_trainer_would_take_one(
    processor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = precision.of_trainer('cpu')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    for has, expected in ((True, 'bf16-mixed'), (False, '32-true')):
        monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda has=has, **_: has)
        assert precision.of_trainer('auto') == precision.of_trainer('gpu') == expected
        assert precision.of_trainer('cpu') == alone


def test_answers_are_in_bf16_only_where_it_pays(processor: str) -> None:
    values = torch.ones(2, 2)
    with precision.autocast(values.device):
        assert (values @ values).dtype == (torch.bfloat16 if processor == NEW else torch.float32)
