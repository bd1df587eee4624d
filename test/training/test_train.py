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
"""Training on pictures that a few steps suffice for: learning, resuming, saying what is wrong."""

from __future__ import annotations

import csv
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from class_pictures import color_members, write_zip  # noqa: E402
from tiny_runs import Refusal, arguments  # noqa: E402
from training import train  # noqa: E402
from training.data import pictures  # noqa: E402
from training.errors import CheckpointInvalid, TrainingDiverged  # noqa: E402
from training.fitting.learner import Learner, rate_share  # noqa: E402
from training.model_files.checkpoints import load_checkpoint  # noqa: E402


@pytest.mark.usefixtures('curves')
def test_a_run_learns_and_leaves_what_export_needs(colors: Path, tmp_path: Path) -> None:
    cli = train.train(arguments(colors, tmp_path, 4))
    assert cli.trainer.callback_metrics['val/top1'] == 1
    left = {'best.ckpt', 'last.ckpt', 'metrics.csv', 'curves.png', 'pictures.png'}
    assert left <= {p.name for p in tmp_path.iterdir()}
    rows = list(csv.DictReader((tmp_path / 'metrics.csv').open()))
    assert [row['epoch'] for row in rows if row['val/top1']] == ['0', '1', '2', '3']
    trained = load_checkpoint(tmp_path / 'best.ckpt')
    assert trained.labels == ('blue', 'green', 'red')
    assert trained.net.architecture.classes == 3
    assert trained.net.architecture.bypass == 'simple'
    assert (trained.spec.height, trained.spec.color) == (32, 'rgb')


@pytest.mark.parametrize('baseline', ['alexnet_small', 'resnet50_small'])
def test_a_baseline_trains_by_the_same_command(
    colors: Path, tmp_path: Path, baseline: str
) -> None:
    cli = train.train(
        [
            *arguments(colors, tmp_path, 1, model__baseline=baseline),
            *('--model.optimizer', 'sgd', '--trainer.limit_train_batches', '1'),
        ]
    )
    assert cli.model.net.__class__.__name__ in ('AlexNet', 'ResNet')
    with pytest.raises(CheckpointInvalid, match=baseline):
        load_checkpoint(tmp_path / 'last.ckpt')


def test_pictures_that_memory_can_not_hold_are_learned_from(colors: Path, tmp_path: Path) -> None:
    cli = train.train(arguments(colors, tmp_path, 4, data__memory_gib='0', data__workers='1'))
    assert cli.trainer.callback_metrics['val/top1'] == 1


def test_muon_learns(colors: Path, tmp_path: Path) -> None:
    cli = train.train(arguments(colors, tmp_path, 4, model__optimizer='muon'))
    assert cli.trainer.callback_metrics['val/top1'] == 1


def test_muon_trains_a_baseline_with_norms(colors: Path, tmp_path: Path) -> None:
    more = {
        'model__baseline': 'resnet50_small',
        'model__optimizer': 'muon',
        'trainer__limit_train_batches': '1',
    }
    cli = train.train(arguments(colors, tmp_path, 1, **more))
    convolutions, others = cli.trainer.optimizers[0].param_groups
    assert len(convolutions['params']) == 53
    assert any(p is cli.model.net.fc.weight for p in others['params'])


def test_a_second_logger_is_added(colors: Path, tmp_path: Path) -> None:
    line = ['--trainer.logger', 'CSVLogger', '--trainer.logger.save_dir', str(tmp_path / 'more')]
    train.train([*arguments(colors, tmp_path / 'run', 1), *line])
    assert list((tmp_path / 'more').rglob('metrics.csv'))
    assert (tmp_path / 'run' / 'metrics.csv').exists()


def test_a_checkpoint_of_another_network_is_refused(colors: Path, tmp_path: Path) -> None:
    train.train(arguments(colors, tmp_path, 1))
    line = arguments(colors, tmp_path, 2, model__architecture__fires='3')
    with pytest.raises(CheckpointInvalid, match='another network'):
        train.train([*line, '--ckpt_path', str(tmp_path / 'last.ckpt')])


def test_a_resumed_run_gives_what_an_unbroken_one_gives(
    colors: Path, tmp_path: Path, train_until: Callable[[list[str], int], None]
) -> None:
    train.train(arguments(colors, tmp_path / 'whole', 3))
    train_until(arguments(colors, tmp_path / 'broken', 3), 2)
    last = str(tmp_path / 'broken' / 'last.ckpt')
    train.train([*arguments(colors, tmp_path / 'broken', 3), '--ckpt_path', last])
    assert (tmp_path / 'broken' / 'metrics.1.csv').exists()

    whole, broken = (
        torch.load(tmp_path / name / 'last.ckpt', weights_only=True)['state_dict']
        for name in ('whole', 'broken')
    )
    assert whole.keys() == broken.keys()
    for name, value in whole.items():
        torch.testing.assert_close(broken[name], value, rtol=0, atol=0, msg=name)


def test_ctrl_c_is_one_line_and_leaves_a_run_that_goes_on(
    colors: Path, tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = arguments(colors, tmp_path, 2)
    with monkeypatch.context() as patched:
        step = Learner.training_step

        def interrupted(self: Learner, *batch: object) -> torch.Tensor:
            if self.current_epoch == 1:
                raise KeyboardInterrupt
            return step(self, *batch)

        patched.setattr(Learner, 'training_step', interrupted)
        before = signal.getsignal(signal.SIGINT)
        said = refusal(line, (130,))
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    assert said.strip().splitlines()[-1] == 'interrupted; --ckpt_path with last.ckpt goes on'
    cli = train.train([*line, '--ckpt_path', str(tmp_path / 'last.ckpt')])
    assert cli.trainer.current_epoch == 2


@pytest.mark.parametrize(('rate', 'loss'), [('1e18', '(inf|nan)'), ('100', r'\d\S*e\+\d+')])
def test_a_loss_beyond_all_measure_ends_the_run(
    colors: Path, tmp_path: Path, rate: str, loss: str
) -> None:
    """A finite one too: behind a dead ReLU it would go on as if it had learnt nothing."""
    line = arguments(
        colors, tmp_path, 8, model__learning_rate=rate, model__architecture__norm='false'
    )
    with pytest.raises(TrainingDiverged, match=f'became {loss} .*lower --model.learning_rate'):
        train.train(line)


def test_a_last_layer_that_died_ends_the_run(colors: Path, tmp_path: Path) -> None:
    """Its loss would stay at ln(classes) for ever, a number like any other."""
    more = {'model__architecture__norm': 'false', 'model__architecture__stem': 'v1.1'}
    cli = train.prepared(arguments(colors, tmp_path, 4, **more))
    with torch.no_grad():
        cli.model.net.conv10.bias.fill_(-100)
    with pytest.raises(TrainingDiverged, match=r'every answer became zero.*step 0; lower'):
        train.fit(cli)


def test_data_that_trains_nothing_is_one_line_before_training(
    tmp_path: Path, refusal: Refusal
) -> None:
    one = {n: data for n, data in color_members(2, 1).items() if '/red/' in n}
    path = write_zip(tmp_path / 'one.zip', one)
    error = refusal(arguments(path, tmp_path / 'out', 1), (1,)).strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert 'one class only in train/, red' in error


def test_a_picture_that_a_worker_can_not_read_is_one_line(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, 'SAMPLE', 1)
    members = color_members(16, 1) | {'train/red/0003.png': b'broken'}
    line = arguments(
        write_zip(tmp_path / 'broken.zip', members),
        tmp_path / 'out',
        1,
        data__memory_gib='0',
        data__workers='1',
    )
    error = refusal(line, (1,)).strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert 'broken.zip: train/red/0003.png: ' in error


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'data__path': '/nowhere/x.zip'}, 'does not exist'),
        ({'data__source': 'cifar10', 'data__path': '/nowhere'}, 'unpack https://'),
        ({'data__source': 'imagenet', 'data__path': '/nowhere'}, 'has no meta.bin'),
        ({'data__source': 'mnist'}, 'archive'),
        ({'data__workers': '-1'}, 'workers -1'),
        ({'data__shift': '32'}, 'less than 32 pixels'),
        ({'data__batch_size': '0'}, 'at least 1'),
        ({'model__architecture__stem': 'v9'}, 'stem must be one of'),
        ({'model__baseline': 'vgg'}, "no network 'vgg'"),
        (
            {'model__optimizer': 'muon', 'model__architecture__norm': 'false'},
            'use --model.optimizer sgd',
        ),
        ({'ckpt_path': '/nowhere/last.ckpt'}, '/nowhere/last.ckpt'),
    ],
)
def test_wrong_values_are_told_without_a_traceback(
    colors: Path,
    tmp_path: Path,
    refusal: Refusal,
    change: dict[str, str],
    message: str,
) -> None:
    assert message in refusal(arguments(colors, tmp_path, 1, **change))


@pytest.mark.parametrize('option', ['--config', '--data', '--model'])
def test_a_zip_for_a_recipe_is_one_line(colors: Path, refusal: Refusal, option: str) -> None:
    (error,) = refusal([option, str(colors)], (1,)).strip().splitlines()
    assert error.endswith(
        'recipes are given with --config, pictures with --data.path, a model file with '
        '--model.start'
    )


def test_an_error_that_nobody_listed_is_one_line(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, 'train', lambda: {}['x'])
    assert refusal([], (1,)) == "error: KeyError: 'x'; for the traceback, set SQZ_DEBUG=1\n"


def test_help_shows_examples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_:
        monkeypatch.setattr(sys, 'argv', ['train', '--help'])
        train.main()
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert 'examples:\n  python -m training.train --config' in shown
    assert 'Height and width given to the network' in shown


@pytest.mark.parametrize(('warmup', 'rise'), [(0.0, 0), (0.25, 25), (1.0, 100)])
def test_the_rate_rises_and_falls(warmup: float, rise: int) -> None:
    shares = [rate_share(step, steps=100, warmup=warmup) for step in range(101)]
    assert max(shares) == 1
    assert shares[:rise] == sorted(shares[:rise])
    assert shares[rise:] == sorted(shares[rise:], reverse=True)
    assert shares[100] == 0
