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
"""Each layer of a trained network pruned alone, and the recipe that follows from it."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from torch.nn.functional import cross_entropy  # noqa: E402

from class_pictures import color_members, noisy_picture, png  # noqa: E402
from training import prune, train  # noqa: E402
from training.data.module import Pictures  # noqa: E402
from training.experiments import sensitivity  # noqa: E402
from training.fitting import precision  # noqa: E402
from training.fitting.callbacks import weights_of  # noqa: E402
from training.fitting.learner import Learner, load  # noqa: E402
from training.model_files.checkpoints import load_checkpoint  # noqa: E402
from training.networks.pruning import prune as kept  # noqa: E402

RECIPE = """
seed_everything: 1
trainer: {{accelerator: cpu, precision: 32-true, enable_model_summary: false, max_epochs: 2}}
data: {{path: {data}, size: 32, batch_size: 16}}
model:
  architecture: {{base_e: 16, incr_e: 0, fires: 2, stem: small, norm: true, dropout: 0.0}}
  learning_rate: 0.05
"""
LAYERS = 8
ArchiveOf = Callable[[dict[str, bytes]], Path]


@pytest.fixture(scope='module')
def recipe(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recipe for a tiny network."""
    path = tmp_path_factory.mktemp('recipe') / 'recipe.yaml'
    path.write_text(RECIPE.format(data=colors))
    return path


@pytest.fixture(scope='module')
def checkpoint(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a tiny network that tells the colours apart."""
    folder = tmp_path_factory.mktemp('run')
    train.train(['--config', str(recipe), '--trainer.default_root_dir', str(folder)])
    return folder / 'last.ckpt'


@pytest.fixture
def learner(checkpoint: Path) -> Learner:
    return load(str(checkpoint))


@pytest.fixture
def pictures(learner: Learner, colors: Path) -> Pictures:
    return sensitivity.validation(learner, str(colors))


def state(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_point_is_the_network_with_one_layer_pruned(
    learner: Learner, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, 'fastest', lambda *_: torch.float32)
    monkeypatch.setattr(sensitivity, 'BATCH', 5)  # the last one is shorter
    before = state(learner)
    found = sensitivity.scan(learner, pictures, [0.1, 0.5])
    assert_same(state(learner), before)
    assert found.densities() == [0.5, 0.1]
    assert len(found.points) == 3 * LAYERS

    (point,) = (p for p in found.at(0.1) if p.layer == 'fires.fire2.expand3x3')
    weight = learner.net.fires['fire2'].expand3x3.weight
    with torch.no_grad():
        weight.mul_(torch.from_numpy(kept(weight.numpy(), 0.1)))
        logits = learner(pictures.images)
    assert point.weights == weight.numel()
    assert point.score.loss == pytest.approx(float(cross_entropy(logits, pictures.targets)))
    right = logits.argmax(dim=1) == pictures.targets
    assert point.score.top1 == pytest.approx(100 * float(right.double().mean()))
    assert point.score.loss != found.whole.loss


def test_bf16_gives_nearly_the_same(
    learner: Learner, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(precision, 'fastest', lambda *_, dtype=dtype: dtype)
        scores.append(sensitivity.score(learner, pictures))
    assert scores[0].loss == pytest.approx(scores[1].loss, abs=0.02)
    assert scores[0].loss != scores[1].loss


def test_weights_are_restored_when_the_scan_is_broken_off(
    learner: Learner, pictures: Pictures
) -> None:
    before = state(learner)
    with pytest.raises(KeyboardInterrupt), sensitivity.pruned(learner, {'conv1': 0.1}):
        assert not torch.equal(learner.net.conv1.weight, before['net.conv1.weight'])
        raise KeyboardInterrupt
    assert_same(state(learner), before)


def run(checkpoint: Path, data: Path, *more: str) -> int:
    return prune.main([str(checkpoint), '--data', str(data), *more])


def test_the_recipe_prunes_each_layer_to_its_density(
    checkpoint: Path, colors: Path, recipe: Path, tmp_path: Path
) -> None:
    options = ['--densities', '0.75', '0.25', '0.1', '--target-density', '0.4']
    assert run(checkpoint, colors, *options, '-o', str(tmp_path / 'scan')) == 0
    with (tmp_path / 'scan' / 'sensitivity.csv').open(newline='') as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ['layer', 'weights', 'density', 'top1', 'loss', 'drop']
    assert len(rows) == 5 * LAYERS
    whole = {row['top1'] for row in rows if row['density'] == '1.0'}
    assert len(whole) == 1
    for row in rows:
        assert float(row['drop']) + float(row['top1']) == pytest.approx(float(whole.copy().pop()))
    assert (tmp_path / 'scan' / 'sensitivity.png').read_bytes()[:4] == b'\x89PNG'

    cli = train.train(
        [
            *('--config', str(recipe), '--config', str(tmp_path / 'scan' / 'densities.yaml')),
            *('--ckpt_path', str(checkpoint), '--trainer.max_epochs', '4'),
            *('--trainer.default_root_dir', str(tmp_path / 'pruned')),
        ]
    )
    (callback,) = (c for c in cli.trainer.callbacks if type(c).__name__ == 'PruneCallback')
    assert callback.density == 0.4
    state_dict = load_checkpoint(tmp_path / 'pruned' / 'last.ckpt').net.state_dict()
    weights = {n.removesuffix('.weight'): v for n, v in state_dict.items() if v.ndim == 4}
    assert callback.layers.keys() == weights.keys()
    for name, weight in weights.items():
        assert weight.count_nonzero() == round(callback.layers[name] * weight.numel()), name
    left = sum(int(weight.count_nonzero()) for weight in weights.values())
    assert left / sum(w.numel() for w in weights.values()) == pytest.approx(0.4, abs=0.002)
    assert len(set(callback.layers.values())) > 1


def test_one_density_gives_table_and_plot_beside_the_checkpoint(
    checkpoint: Path, colors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, colors, '--density', '0.02', '--limit', '6') == 0
    folder = checkpoint.parent / 'prune'
    assert sorted(p.name for p in folder.iterdir()) == ['sensitivity.csv', 'sensitivity.png']
    shown = capsys.readouterr().out
    assert '6 pictures, nothing pruned: top-1 ' in shown
    for name in ('conv1', 'fires.fire3.expand3x3', 'conv10'):
        assert re.search(rf'^{re.escape(name)} +[\d,]+ +-?\d+\.\d\d$', shown, re.MULTILINE), name
    assert 'expand layer' in shown


def test_the_suggestion_is_what_the_trainer_takes(
    recipe: Path, learner: Learner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = sensitivity.Score(90.0, 0.1)
    points = [
        sensitivity.Point(name, weight.numel(), 0.5, sensitivity.Score(80.0, 1.0))
        for name, weight in weights_of(learner).items()
    ]
    prune.suggest(sensitivity.Scan(whole, tuple(points)), 0.5, learner)
    found = re.search(r"--model.architecture.widen '(.*)'", capsys.readouterr().out)
    assert found is not None
    out = ['--trainer.default_root_dir', str(tmp_path), '--trainer.max_epochs', '1']
    cli = train.train(['--config', str(recipe), *out, '--model.architecture.widen', found[1]])
    now, before = cli.model.net.architecture, learner.net.architecture
    assert len(now.widen) == prune.WIDENED
    assert set(now.widen.values()) == {1.5}
    assert [now.fire(i) for i in range(2)] != [before.fire(i) for i in range(2)]


def test_a_baseline_is_scanned_too(
    colors: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ['--config', str(recipe), '--model.baseline', 'alexnet_small']
    line += ['--trainer.limit_train_batches', '1', '--trainer.max_epochs', '1']
    train.train([*line, '--trainer.default_root_dir', str(tmp_path)])
    assert run(tmp_path / 'last.ckpt', colors, '--limit', '3') == 0
    shown = capsys.readouterr().out
    assert 'features.0' in shown
    assert 'widen' not in shown


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--density', '0'], 'not above 0 and at most 1'),
        (['--densities', '0.5', '2'], 'not above 0 and at most 1'),
        (['--target-density', '0.33'], 'scan lower ones too with --densities'),
        (['--densities', '0.4', '--target-density', '0.3'], 'lowest density scanned, 0.4'),
        (['--limit', '-1'], 'negative'),
        (['-o', '/nowhere/at/all'], 'there is no folder /nowhere/at'),
    ],
)
def test_wrong_options_are_told_in_one_line(
    checkpoint: Path,
    colors: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    try:
        code = run(checkpoint, colors, *options)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    assert code in (1, 2)
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert 'Traceback' not in error


def test_wrong_checkpoints_are_told_in_one_line(
    checkpoint: Path, colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged, other = tmp_path / 'damaged.ckpt', tmp_path / 'other.ckpt'
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    content = torch.load(checkpoint, weights_only=True)
    del content['state_dict']['net.conv10.weight']
    torch.save(content, other)
    for path in (tmp_path / 'none.ckpt', damaged, other):
        assert run(path, colors) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f'error: {path}')


def test_wrong_data_is_told_in_one_line(
    checkpoint: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {'val/violet/0.png': png(noisy_picture((200, 40, 200), 0))}
    for members, message in (
        ({**color_members(1, 1), **more}, 'violet'),
        ({n: data for n, data in color_members(1, 1).items() if 'train' in n}, 'val/<class>/'),
    ):
        assert run(checkpoint, archive_of(members)) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith('error: ')
        assert message in error


def test_a_file_in_the_place_of_the_folder_is_left_alone(
    checkpoint: Path, colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / 'taken'
    taken.write_text('mine')
    assert run(checkpoint, colors, '-o', str(taken)) == 1
    assert 'taken' in capsys.readouterr().err
    assert taken.read_text() == 'mine'
