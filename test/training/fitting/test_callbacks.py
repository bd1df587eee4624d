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
"""Pruning while training: checkpoints hold pruned weights, also after a run is resumed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from tiny_runs import Refusal  # noqa: E402
from training import train  # noqa: E402
from training.fitting.learner import Learner  # noqa: E402
from training.model_files.checkpoints import load_checkpoint  # noqa: E402

RECIPE = """
seed_everything: 1
trainer:
  accelerator: cpu
  precision: 32-true
  enable_model_summary: false
  max_epochs: {epochs}
  default_root_dir: {out}
  callbacks:
    - class_path: training.fitting.callbacks.PruneCallback
      init_args: {arguments}
data:
  path: {data}
  size: 32
  batch_size: 16
model:
  architecture: {{base_e: 16, incr_e: 0, fires: 2, stem: small, norm: true, dropout: 0.0}}
  learning_rate: 0.05
"""
PRUNE = '{density: 0.3}'

Recipe = Callable[..., list[str]]


@pytest.fixture
def recipe(colors: Path, tmp_path: Path) -> Recipe:
    """Return a function that writes a recipe in YAML and returns the command line for it."""

    def write(arguments: str, epochs: int = 2, out: str = 'out') -> list[str]:
        path = tmp_path / f'{out}.yaml'
        values = {'epochs': epochs, 'out': tmp_path / out, 'data': colors}
        path.write_text(RECIPE.format(arguments=arguments, **values))
        return ['--config', str(path)]

    return write


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the convolutions in a checkpoint, by the layer's name."""
    state = load_checkpoint(path).net.state_dict()
    return {n.removesuffix('.weight'): value for n, value in state.items() if value.ndim == 4}


def assert_density(found: dict[str, torch.Tensor], density: float) -> None:
    for name, weight in found.items():
        assert weight.count_nonzero() == round(density * weight.numel()), name


def test_pruned_weights_lie_in_both_checkpoints(recipe: Recipe, tmp_path: Path) -> None:
    arguments = '{density: 0.3, until: 0.5, layers: {conv1: 0.75, conv10: 1.0}}'
    cli = train.train(recipe(arguments, epochs=4))
    assert cli.trainer.callback_metrics['val/top1'] > 0.6  # it still learns
    for name in ('best', 'last'):
        found = weights(tmp_path / 'out' / f'{name}.ckpt')
        assert_density({'conv1': found.pop('conv1')}, 0.75)
        assert_density({'conv10': found.pop('conv10')}, 1.0)
        assert_density(found, 0.3)


def test_the_density_falls_and_what_is_pruned_stays_so(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    step = Learner.training_step

    def watched(self: Learner, *batch: object) -> torch.Tensor:
        seen.append(self.net.fires['fire2'].expand3x3.weight.detach() != 0)
        return step(self, *batch)

    monkeypatch.setattr(Learner, 'training_step', watched)
    train.train(recipe(PRUNE, epochs=4))
    counts = [int(kept.sum()) for kept in seen]
    size = seen[0].numel()
    assert counts[0] == size
    assert counts[len(counts) // 2 :] == [round(0.3 * size)] * (len(counts) - len(counts) // 2)
    assert len(set(counts)) > len(counts) // 2 - 2  # a little at each step until then
    for before, after in pairwise(seen):
        assert not (after & ~before).any()


def test_a_resumed_run_gives_what_an_unbroken_one_gives(
    recipe: Recipe, tmp_path: Path, train_until: Callable[[list[str], int], None]
) -> None:
    train.train(recipe(PRUNE, epochs=3, out='whole'))
    broken = recipe(PRUNE, epochs=3, out='broken')
    train_until(broken, 1)
    train.train([*broken, '--ckpt_path', str(tmp_path / 'broken' / 'last.ckpt')])
    whole, resumed = (weights(tmp_path / name / 'last.ckpt') for name in ('whole', 'broken'))
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('{density: 0}', 'a density of 0'),
        ('{density: 0.5, until: 2}', 'until is 2'),
        ('{density: 0.5, layers: {conv7: 0.1}}', "no layer 'conv7'"),
        ('{}', 'density'),
    ],
)
def test_wrong_values_are_told_without_a_traceback(
    recipe: Recipe, refusal: Refusal, arguments: str, message: str
) -> None:
    assert message in refusal(recipe(arguments, epochs=1))
