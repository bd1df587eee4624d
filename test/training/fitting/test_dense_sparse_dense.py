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
"""Dense-sparse-dense training: what is zero in which phase, at which rate, also when resumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from tiny_runs import Refusal  # noqa: E402
from training import train  # noqa: E402
from training.errors import CompressionFailed  # noqa: E402
from training.fitting.callbacks import weights_of  # noqa: E402
from training.fitting.learner import Learner, rate_share  # noqa: E402

RECIPE = """
seed_everything: 1
trainer:
  accelerator: cpu
  precision: 32-true
  enable_model_summary: false
  max_epochs: {epochs}
  default_root_dir: {out}
{callbacks}
data: {{path: {data}, size: 32, batch_size: 16}}
model:
  architecture:
    {{base_e: 16, incr_e: 0, fires: 2, squeeze_ratio: 0.5, stem: small, norm: true, dropout: 0.0}}
  learning_rate: {rate}
  optimizer: {optimizer}
"""
CALLBACK = """
  callbacks:
    - class_path: training.fitting.dense_sparse_dense.DenseSparseDenseCallback
      init_args: {}
"""
DEAD = 0.1  # of the weights, at most, whose units no longer answer and so learn nothing
EPOCH = 4  # steps, of 16 pictures each
RATE = 0.05

Recipe = Callable[..., list[str]]


@pytest.fixture
def recipe(colors: Path, tmp_path: Path) -> Recipe:
    """Return a function that writes a recipe in YAML and returns the command line for it."""

    def write(
        arguments: str | None, epochs: int = 3, out: str = 'out', optimizer: str = 'sgd'
    ) -> list[str]:
        path = tmp_path / f'{out}.yaml'
        callbacks = '' if arguments is None else CALLBACK.format(arguments)
        path.write_text(
            RECIPE.format(
                epochs=epochs,
                out=tmp_path / out,
                callbacks=callbacks,
                data=colors,
                rate=RATE,
                optimizer=optimizer,
            )
        )
        return ['--config', str(path)]

    return write


@dataclass
class Seen:
    """What each step found: densities by layer, the rate, momentum of weights that are zero."""

    densities: list[dict[str, float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    momentum_at_zeros: list[float] = field(default_factory=list)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Watch the steps of the runs that follow."""
    found, step = Seen(), Learner.training_step

    def watched(self: Learner, *batch: object) -> torch.Tensor:
        (optimizer,) = self.trainer.optimizers
        weights = weights_of(self)
        found.densities.append(
            {n: float((weight != 0).float().mean()) for n, weight in weights.items()}
        )
        found.rates.append(optimizer.param_groups[0]['lr'])
        found.momentum_at_zeros.append(
            sum(
                float((value * (weight == 0)).abs().sum())
                for weight in weights.values()
                for value in optimizer.state.get(weight, {}).values()
                if value.shape == weight.shape
            )
        )
        return step(self, *batch)

    monkeypatch.setattr(Learner, 'training_step', watched)
    return found


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


def zeros(path: Path) -> float:
    """Return the share of the convolutions' weights that are zero."""
    weights = [value for value in state(path).values() if value.ndim == 4]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize('optimizer', ['sgd', 'muon'])
def test_weights_go_and_come_back(
    recipe: Recipe, tmp_path: Path, seen: Seen, optimizer: str
) -> None:
    arguments = '{layers: {conv1: 0.75, conv10: 1.0}}'
    cli = train.train(recipe(arguments, epochs=6, optimizer=optimizer))
    assert cli.trainer.callback_metrics['val/top1'] > 0.9
    first, back = 2 * EPOCH, 4 * EPOCH
    for step, densities in enumerate(seen.densities):
        if first <= step <= back:  # at ``back`` they are zero, but free
            assert densities.pop('conv1') == 0.75
            assert densities.pop('conv10') == 1
            assert all(0.32 < density < 0.35 for density in densities.values())
        else:
            assert min(densities.values()) > 0.5
            assert densities['conv1'] > 0.9
    assert zeros(tmp_path / 'out' / 'last.ckpt') < DEAD


def test_what_comes_back_is_at_rest_and_learns_at_a_tenth_of_the_rate(
    recipe: Recipe, seen: Seen
) -> None:
    train.train(recipe('{sparse_from: 0.25, dense_from: 0.5}', epochs=4))
    steps = 4 * EPOCH
    back = steps // 2
    expected = [
        RATE * rate_share(step, steps=steps, warmup=0) * (0.1 if step >= back else 1)
        for step in range(steps)
    ]
    assert seen.rates == pytest.approx(expected)
    assert seen.momentum_at_zeros[back - 1] > 0
    assert seen.momentum_at_zeros[back] == 0


def test_best_is_of_the_last_phase(recipe: Recipe, tmp_path: Path) -> None:
    train.train(recipe('{dense_from: 0.875}', epochs=8))
    best = torch.load(tmp_path / 'out' / 'best.ckpt', weights_only=True)
    assert best['global_step'] == 8 * EPOCH  # though the colours are told apart long before
    assert zeros(tmp_path / 'out' / 'best.ckpt') < DEAD


def test_after_a_finished_run_it_begins_at_once(
    recipe: Recipe, tmp_path: Path, seen: Seen
) -> None:
    train.train(recipe(None, epochs=2))
    finished = str(tmp_path / 'out' / 'last.ckpt')
    line = recipe('{sparse_from: 0.0, dense_from: 0.5, rate: 0.5}', epochs=4)
    train.train([*line, '--ckpt_path', finished])
    dense = [densities['conv1'] > 0.9 for densities in seen.densities]
    before, sparse = 2 * EPOCH, EPOCH + 1  # one more: they come back at zero
    assert dense == [True] * before + [False] * sparse + [True] * (EPOCH - 1)
    share = rate_share(3 * EPOCH, steps=4 * EPOCH, warmup=0)
    assert seen.rates[3 * EPOCH] == pytest.approx(0.5 * RATE * share)


def test_zeros_of_a_pruned_network_are_trained_when_dense(
    recipe: Recipe, tmp_path: Path, seen: Seen
) -> None:
    line = ['--trainer.callbacks+=training.fitting.callbacks.PruneCallback']
    line += ['--trainer.callbacks.density', '0.2', '--trainer.callbacks.until', '0']
    train.train([*recipe(None, epochs=1, out='pruned'), *line])
    pruned = str(tmp_path / 'pruned' / 'last.ckpt')
    train.train([*recipe('{sparse_from: 0.5, dense_from: 0.75}'), '--ckpt_path', pruned])
    # A finished run ends at a rate of zero, and the first step after it still has that.
    before, after = (seen.densities[step]['conv1'] for step in (EPOCH, EPOCH + 2))
    assert before == pytest.approx(0.2, abs=0.01)
    assert after > 0.5
    assert zeros(tmp_path / 'out' / 'last.ckpt') < DEAD


def test_a_schedule_that_has_ended_is_told(recipe: Recipe, tmp_path: Path) -> None:
    train.train(recipe(None, epochs=2))
    line = [*recipe('{}', epochs=3), '--trainer.limit_train_batches', '2']
    with pytest.raises(CompressionFailed, match=r'of step 8, .* from step 6 on'):
        train.train([*line, '--ckpt_path', str(tmp_path / 'out' / 'last.ckpt')])


def test_frozen_layers_are_left_alone(
    recipe: Recipe, tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure = Learner.configure_optimizers

    def frozen(self: Learner) -> object:
        self.net.conv1.requires_grad_(False)
        return configure(self)

    monkeypatch.setattr(Learner, 'configure_optimizers', frozen)
    train.train(recipe('{sparse_from: 0.0}', epochs=1))
    assert not any('conv1' in densities for densities in seen.densities)
    conv1 = torch.load(tmp_path / 'out' / 'last.ckpt')['state_dict']['net.conv1.weight']
    assert (conv1 != 0).all()
    assert min(densities['conv10'] for densities in seen.densities) < 0.4


@pytest.mark.parametrize(
    ('optimizer', 'epoch'), [('sgd', 1), ('sgd', 2), ('sgd', 3), ('muon', 2), ('muon', 3)]
)
def test_a_resumed_run_gives_what_an_unbroken_one_gives(
    recipe: Recipe,
    tmp_path: Path,
    train_until: Callable[[list[str], int], None],
    optimizer: str,
    epoch: int,
) -> None:
    arguments = '{sparse_from: 0.3, dense_from: 0.6}'  # steps 4 and 9 of 16
    train.train(recipe(arguments, epochs=4, out='whole', optimizer=optimizer))
    broken = recipe(arguments, epochs=4, out='broken', optimizer=optimizer)
    train_until(broken, epoch)
    train.train([*broken, '--ckpt_path', str(tmp_path / 'broken' / 'last.ckpt')])
    whole, resumed = (state(tmp_path / name / 'last.ckpt') for name in ('whole', 'broken'))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('{density: 0}', 'a density of 0'),
        ('{layers: {conv7: 0.1}}', "no layer 'conv7'"),
        ('{sparse_from: 0.5, dense_from: 0.5}', 'the first below the second'),
        ('{sparse_from: -0.1}', 'sparse_from is -0.1'),
        ('{dense_from: 1.0}', 'dense_from 1.0'),
        ('{rate: 0}', 'a rate of 0'),
        ('{rate: some}', 'rate'),
    ],
)
def test_wrong_values_are_told_without_a_traceback(
    recipe: Recipe, refusal: Refusal, arguments: str, message: str
) -> None:
    assert message in refusal(recipe(arguments, epochs=1))
