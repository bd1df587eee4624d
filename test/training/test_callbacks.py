# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compression while training: checkpoints hold compressed weights, also after a run resumed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from tiny_runs import Refusal  # noqa: E402
from training import callbacks, train  # noqa: E402
from training.assemble import Identity  # noqa: E402
from training.callbacks import rounded  # noqa: E402
from training.export import load_checkpoint, to_model  # noqa: E402
from training.learner import Learner  # noqa: E402

RECIPE = """
seed_everything: 1
trainer:
  accelerator: cpu
  precision: 32-true
  enable_model_summary: false
  max_epochs: {epochs}
  default_root_dir: {out}
  callbacks:
{callbacks}
data:
  path: {data}
  size: 32
  batch_size: 16
model:
  architecture: {{base_e: 16, incr_e: 0, fires: 2, stem: small, norm: {norm}, dropout: 0.0}}
  learning_rate: 0.05
"""
PRUNE = ('PruneCallback', '{density: 0.3}')
SHARE = ('ShareCallback', '{bits: 4}')
QUANTISE = ('FakeQuantiseCallback', '{bits: 4}')

Recipe = Callable[..., list[str]]


@pytest.fixture
def recipe(colors: Path, tmp_path: Path) -> Recipe:
    """Return a function that writes a recipe in YAML and returns the command line for it."""

    def write(
        *chosen: tuple[str, str], epochs: int = 2, out: str = 'out', norm: str = 'true'
    ) -> list[str]:
        rows = ''.join(
            f'    - class_path: training.callbacks.{name}\n      init_args: {arguments}\n'
            for name, arguments in chosen
        )
        path = tmp_path / f'{out}.yaml'
        text = RECIPE.format(
            epochs=epochs, out=tmp_path / out, callbacks=rows, data=colors, norm=norm
        )
        path.write_text(text if chosen else text.replace('  callbacks:\n', ''))
        return ['--config', str(path)]

    return write


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the convolutions in a checkpoint, by the layer's name."""
    state = load_checkpoint(path).net.state_dict()
    return {n.removesuffix('.weight'): value for n, value in state.items() if value.ndim == 4}


def assert_density(found: dict[str, torch.Tensor], density: float) -> None:
    for name, weight in found.items():
        assert weight.count_nonzero() == round(density * weight.numel()), name


def assert_shared(found: dict[str, torch.Tensor], most: int) -> None:
    for name, weight in found.items():
        assert 2 < len(weight.unique()) <= most, name


def assert_on_grid(found: dict[str, torch.Tensor], bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    for name, weight in found.items():
        rows = weight.flatten(1).numpy()
        largest = np.abs(rows).max(axis=1, keepdims=True)
        levels = rows / np.where(largest > 0, largest, 1) * top
        assert np.abs(levels - np.rint(levels)).max() < 1e-4, name
        assert len(np.unique(np.rint(levels))) > 1, name


def test_pruned_weights_lie_in_both_checkpoints(recipe: Recipe, tmp_path: Path) -> None:
    arguments = '{density: 0.3, until: 0.5, layers: {conv1: 0.75, conv10: 1.0}}'
    cli = train.train(recipe((PRUNE[0], arguments), epochs=4))
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


def test_shared_weights_lie_in_the_checkpoint_and_learn(recipe: Recipe, tmp_path: Path) -> None:
    train.train(recipe(SHARE, epochs=1, out='one'))
    train.train(recipe(SHARE, epochs=3, out='three', norm='false'))
    one, three = (weights(tmp_path / name / 'best.ckpt') for name in ('one', 'three'))
    assert_shared(one, 16)
    assert_shared(three, 16)
    assert not torch.equal(one['conv1'].unique(), three['conv1'].unique())
    trained = load_checkpoint(tmp_path / 'three' / 'best.ckpt')
    model = to_model(trained.net, trained.spec, trained.labels, Identity('shared'), 'codebook')
    assert len(model.tensors['conv1.weight'].codebook) <= 16


def test_a_step_moves_a_value_by_the_mean_of_its_weights_steps() -> None:
    share = callbacks.ShareCallback(2)
    weight = torch.tensor([[[[1.0, 1.0]]], [[[-2.0, 0.0]]]])
    share.weights = {'w': weight}
    share.begin()
    weight += torch.tensor([[[[0.5, 0.0]]], [[[0.25, 0.0]]]])
    share.constrain(trainer=None)
    assert weight.flatten().tolist() == [1.25, 1.25, -1.75, 0.0]


def test_quantised_weights_lie_in_the_checkpoint_and_others_learn(
    recipe: Recipe, tmp_path: Path
) -> None:
    cli = train.train(recipe(QUANTISE, epochs=4))
    assert cli.trainer.callback_metrics['val/top1'] > 0.6
    for name in ('best', 'last'):
        assert_on_grid(weights(tmp_path / 'out' / f'{name}.ckpt'), 4)
    content = torch.load(tmp_path / 'out' / 'last.ckpt', weights_only=True)
    (state,) = (s for n, s in content['callbacks'].items() if 'FakeQuantise' in n)
    for name, weight in weights(tmp_path / 'out' / 'last.ckpt').items():
        exact = state['exact'][name]
        assert torch.equal(weight, rounded(exact, 4))
        assert not torch.equal(weight, exact)


def test_levels_survive_the_fold_of_the_norm(recipe: Recipe, tmp_path: Path) -> None:
    train.train(recipe(QUANTISE, epochs=1))
    trained = load_checkpoint(tmp_path / 'out' / 'last.ckpt')
    model = to_model(trained.net, trained.spec, trained.labels, Identity('q'), 'float32')
    names = [node.weight for node in model.convolutions]
    assert_on_grid({n: torch.from_numpy(model.tensors[n].dense()) for n in names}, 4)


@pytest.mark.parametrize('chosen', [PRUNE, SHARE, QUANTISE])
def test_a_resumed_run_gives_what_an_unbroken_one_gives(
    recipe: Recipe,
    tmp_path: Path,
    train_until: Callable[[list[str], int], None],
    chosen: tuple[str, str],
) -> None:
    train.train(recipe(chosen, epochs=3, out='whole'))
    broken = recipe(chosen, epochs=3, out='broken')
    train_until(broken, 1)
    train.train([*broken, '--ckpt_path', str(tmp_path / 'broken' / 'last.ckpt')])
    whole, resumed = (weights(tmp_path / name / 'last.ckpt') for name in ('whole', 'broken'))
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize('then', [SHARE, QUANTISE])
def test_a_pruned_network_goes_on_and_best_is_of_the_new_kind(
    recipe: Recipe, tmp_path: Path, then: tuple[str, str]
) -> None:
    train.train(recipe(('PruneCallback', '{density: 0.3, until: 0.0}'), epochs=1))
    pruned = weights(tmp_path / 'out' / 'best.ckpt')
    last = str(tmp_path / 'out' / 'last.ckpt')
    train.train([*recipe(then, epochs=2), '--ckpt_path', last])
    found = weights(tmp_path / 'out' / 'best.ckpt')
    for name, weight in found.items():
        assert not weight[pruned[name] == 0].any(), name
    if then is SHARE:
        assert_shared(found, 16)
        assert_density(found, 0.3)
    else:
        assert_on_grid(found, 4)


def test_gathered_gradients_leave_the_exact_weights_alone(recipe: Recipe, tmp_path: Path) -> None:
    gathering = ['--trainer.accumulate_grad_batches', '2']
    train.train([*recipe(QUANTISE, epochs=1), *gathering])
    content = torch.load(tmp_path / 'out' / 'last.ckpt', weights_only=True)
    (state,) = (s for n, s in content['callbacks'].items() if 'FakeQuantise' in n)
    for name, weight in weights(tmp_path / 'out' / 'last.ckpt').items():
        assert not torch.equal(weight, state['exact'][name]), name


@pytest.mark.parametrize(
    ('chosen', 'message'),
    [
        (('PruneCallback', '{density: 0}'), 'a density of 0'),
        (('PruneCallback', '{density: 0.5, until: 2}'), 'until is 2'),
        (('PruneCallback', '{density: 0.5, layers: {conv7: 0.1}}'), "no layer 'conv7'"),
        (('PruneCallback', '{}'), 'density'),
        (('ShareCallback', '{bits: 9}'), '9 bits'),
        (('FakeQuantiseCallback', '{bits: 1}'), '1 bits'),
        (('FakeQuantiseCallback', '{bits: some}'), 'bits'),
    ],
)
def test_wrong_values_are_told_without_a_traceback(
    recipe: Recipe, refusal: Refusal, chosen: tuple[str, str], message: str
) -> None:
    assert message in refusal(recipe(chosen, epochs=1))
