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
"""Transfer learning: a network that begins as a file's, trains in part, and is exported again."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from sqz_perception.inference import classifier  # noqa: E402
from sqz_perception.inference.backend import Runtime  # noqa: E402
from sqz_perception.model import file  # noqa: E402
from sqz_perception.model.network import (  # noqa: E402
    InputSpec,
    Model,
    SelfTest,
    Tensor,
    self_test_picture,
)
from tiny import tiny_model, with_one_step  # noqa: E402
from tiny_runs import Refusal, arguments  # noqa: E402
from training import export, train  # noqa: E402
from training.compression.weight_sharing import deep_compress  # noqa: E402
from training.data.archive import Archive  # noqa: E402
from training.errors import ArchitectureInvalid, CheckpointInvalid  # noqa: E402
from training.evaluation.outcome import evaluate  # noqa: E402
from training.fitting.learner import Learner, load  # noqa: E402
from training.model_files import (  # noqa: E402
    assemble,
    checkpoints,
    deep_compressed,
    reference,
)
from training.model_files.assemble import Identity, Layer  # noqa: E402
from training.networks.architecture import PRESETS, Architecture  # noqa: E402
from training.networks.config import MEAN  # noqa: E402
from training.networks.models import SqueezeNet, build  # noqa: E402

RECIPE = Path(train.__file__).parent / 'recipes' / 'finetune.yaml'
FP32 = Runtime('onnxruntime', 'fp32', 1)
SIDE = 48
COLORS = ('blue', 'green', 'red')
TINY = Architecture(base_e=16, incr_e=8, freq=2, fires=3, squeeze_ratio=0.5, classes=3)

NORMS = {'model__architecture__norm': 'true', 'model__train_from': 'null'}

Start = Callable[..., str]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that writes a model file to start from, in a way that ``like`` says."""

    def write(
        like: Callable[[Model], Model] = lambda model: model,
        architecture: Architecture = TINY,
        color: str = 'bgr',
        labels: tuple[str, ...] = COLORS,
    ) -> str:
        path = tmp_path / 'start.sqz'
        file.write(like(random_model(architecture, color, labels)), path)
        return str(path)

    return write


def random_model(architecture: Architecture, color: str, labels: tuple[str, ...]) -> Model:
    """Return a model with random weights whose answers are above zero, so its last ReLU shows."""
    torch.manual_seed(3)
    net = SqueezeNet(replace(architecture, classes=len(labels)))
    for name, parameter in net.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(parameter, 0, 0.1)
    torch.nn.init.uniform_(net.conv10.weight, 0, 0.3)
    scale = (1 / 60, 1 / 61, 1 / 63)
    spec = InputSpec(SIDE, SIDE, SIDE + 4, color, (104.0, 117.0, 123.0), scale)
    return checkpoints.to_model(net.eval(), spec, labels, Identity('start'), 'float32')


def shared_values(model: Model) -> Model:
    return deep_compress(model, {}, 5)


def learner(path: str, architecture: Architecture = TINY, **more: object) -> Learner:
    """Return what the recipe gives the trainer, for evaluation."""
    return Learner(COLORS, SIDE, architecture=architecture, start=path, **more).eval()


def answers(of: Learner, bgr: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return of(torch.from_numpy(bgr[None, :, :, ::-1].copy()))[0].numpy()


@pytest.mark.parametrize(
    ('changes', 'color', 'like'),
    [
        ({}, 'bgr', lambda model: model),
        ({}, 'rgb', lambda model: model),
        ({}, 'bgr', shared_values),
        ({}, 'bgr', with_one_step),
        ({'stem': 'v1.1', 'bypass': 'complex'}, 'bgr', with_one_step),
        ({'stem': 'small', 'bypass': 'simple'}, 'rgb', shared_values),
        ({'stem': 'small', 'bypass': 'simple', 'add_first': True}, 'rgb', with_one_step),
    ],
)
@pytest.mark.parametrize('norm', [False, True])
def test_a_network_begins_with_the_files_answers(
    start: Start,
    changes: dict[str, Any],
    color: str,
    like: Callable[[Model], Model],
    norm: bool,
) -> None:
    architecture = replace(TINY, **changes)
    path = start(like, architecture, color)
    model = file.read(path)
    if norm and architecture.bypass != 'none' and not architecture.add_first:
        with pytest.raises(ArchitectureInvalid, match='relu'):
            learner(path, replace(architecture, norm=norm))
        return
    begun = learner(path, replace(architecture, norm=norm))
    runtime = classifier.build(model, FP32)
    for seed in (5, 6):
        picture = self_test_picture(seed, model.input)
        expected = runtime.logits(picture)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(answers(begun, picture), expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            answers(begun, picture), reference.logits(model, picture), rtol=1e-3, atol=1e-4
        )


@pytest.fixture
def checkpoint(colors: Path, tmp_path: Path) -> Path:
    """Return the last checkpoint of a network with norms that was trained a little."""
    train.train(arguments(colors, tmp_path / 'first', 1))
    return tmp_path / 'first' / 'last.ckpt'


def test_a_network_begins_with_a_checkpoints_answers(checkpoint: Path) -> None:
    first = load(str(checkpoint))
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    architecture = replace(first.net.architecture, dropout=0.3)
    like = {'architecture': architecture, 'start': str(checkpoint)}
    begun, other = (Learner(labels, 32, **like).eval() for labels in (COLORS, ('a', 'b')))
    with torch.no_grad():
        assert torch.equal(begun(images), first(images))
        assert other(images).shape == (4, 2)
    assert torch.equal(other.net.norm1.running_var, first.net.norm1.running_var)
    assert begun.description.preprocessing == first.description.preprocessing
    assert begun.description.preprocessing.mean != MEAN


def test_a_run_begins_with_a_checkpoint(colors: Path, tmp_path: Path, checkpoint: Path) -> None:
    more = {'model__start': str(checkpoint), 'model__mean': 'null', 'model__std': 'null'}
    cli = train.train(arguments(colors, tmp_path / 'second', 3, **more))
    assert cli.trainer.callback_metrics['val/top1'] == 1


def test_a_checkpoint_of_another_network_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    architecture = load(str(checkpoint)).net.architecture
    with pytest.raises(ArchitectureInvalid, match='last.ckpt: it is of another network'):
        other = replace(architecture, norm=False)
        Learner(COLORS, 32, architecture=other, start=str(checkpoint))
    with pytest.raises(ArchitectureInvalid, match='set --data.size to 32'):
        Learner(COLORS, 24, architecture=architecture, start=str(checkpoint))
    with pytest.raises(CheckpointInvalid, match='none.ckpt: no such file'):
        Learner(COLORS, 32, architecture=architecture, start=str(tmp_path / 'none.ckpt'))


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (
            lambda content: content['state_dict'].pop('net.norm1.weight'),
            'less.ckpt: no checkpoint',
        ),
        (lambda content: content.pop('state_dict'), 'less.ckpt: no checkpoint'),
        (lambda content: content['sqz_perception'].pop('labels'), 'less.ckpt: no checkpoint'),
        (
            lambda content: content['sqz_perception']['config'].update(colour='red'),
            'less.ckpt: no checkpoint',
        ),
        (
            lambda content: content['sqz_perception']['config'].update(baseline='alexnet'),
            'less.ckpt is of alexnet, which is there to compare with',
        ),
    ],
)
def test_a_checkpoint_that_says_less_or_other_is_refused(
    checkpoint: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    damage(content)
    torch.save(content, tmp_path / 'less.ckpt')
    with pytest.raises(CheckpointInvalid, match=message):
        small = PRESETS['squeezenet_small']
        Learner(COLORS, 32, architecture=small, start=str(tmp_path / 'less.ckpt'))


def test_a_network_trained_with_norms_goes_on_without(start: Start) -> None:
    with_norm = replace(TINY, stem='small', bypass='simple', norm=True)
    path = start(architecture=with_norm)
    begun = learner(path, replace(with_norm, norm=False, add_first=True))
    model = file.read(path)
    picture = self_test_picture(5, model.input)
    expected = reference.logits(model, picture)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(answers(begun, picture), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(ArchitectureInvalid, match='has add fire3'):
        learner(path, replace(with_norm, norm=False))


def test_the_deep_compressed_model_is_the_recipes_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, 'self_test', lambda model: SelfTest())
    random = np.random.default_rng(1)

    def layer(shape: deep_compressed.Shape) -> Layer:
        weight = random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        return Layer(weight.astype(np.float32), random.normal(0, 0.1, shape[0]).astype(np.float32))

    layers = {name: layer(shape) for name, shape in deep_compressed.shapes().items()}
    labels = tuple(f'class {i}' for i in range(deep_compressed.CLASSES))
    model = deep_compressed.to_model(layers, labels, Identity('caffe'), 'float32')
    path = tmp_path / 'imagenet.sqz'
    file.write(model, path, plain=True)
    like = {'architecture': PRESETS['squeezenet1_0'], 'start': str(path)}
    begun = Learner(labels, 227, **like).eval()
    picture = self_test_picture(5, model.input)
    expected = classifier.build(model, FP32).logits(picture)
    np.testing.assert_allclose(answers(begun, picture), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('labels', [('a', 'b', 'c', 'd'), COLORS[::-1]])
def test_other_labels_get_a_new_last_layer(start: Start, labels: tuple[str, ...]) -> None:
    base = file.read(path := start(labels=labels))
    begun = learner(path).net
    assert begun.conv10.weight.abs().max() < 0.1 < base.tensors['conv10.weight'].dense().max()
    np.testing.assert_array_equal(
        begun.conv1.weight.detach(), base.tensors['conv1.weight'].dense()
    )


def recipe(data: Path, out: Path, start: str, **more: str) -> list[str]:
    """Return a command line: the shipped recipe, with a network and steps for a test."""
    values = {
        'trainer.accelerator': 'cpu',
        'trainer.enable_model_summary': 'false',
        'trainer.default_root_dir': str(out),
        'trainer.max_epochs': '4',
        'data.path': str(data),
        'data.size': str(SIDE),
        'data.batch_size': '8',
        'data.shift': '4',
        'model.architecture.base_e': str(TINY.base_e),
        'model.architecture.incr_e': str(TINY.incr_e),
        'model.architecture.freq': str(TINY.freq),
        'model.architecture.fires': str(TINY.fires),
        'model.architecture.squeeze_ratio': str(TINY.squeeze_ratio),
        'model.start': start,
        'model.train_from': 'fire4',
        'model.learning_rate': '0.02',
        **{key.replace('__', '.'): value for key, value in more.items()},
    }
    line = ['--config', str(RECIPE)]
    return line + [part for key, value in values.items() for part in (f'--{key}', value)]


@pytest.mark.parametrize('like', [shared_values, with_one_step])
def test_what_is_not_trained_is_exported_as_it_was(
    colors: Path, tmp_path: Path, start: Start, like: Callable[[Model], Model]
) -> None:
    path = start(like, labels=('a', 'b', 'c', 'd'))
    slow = {'trainer__max_epochs': '1', 'model__learning_rate': '0.005'}  # a new head dies easily
    train.train(recipe(colors, tmp_path, path, **slow))
    base = file.read(path).tensors
    line = [str(tmp_path / 'best.ckpt'), '--name', 'colors', '-o']
    plain, based = (str(tmp_path / f'{name}.sqz') for name in ('plain', 'based'))
    assert export.main([*line, plain, '--dtype', 'float32']) == 0
    assert export.main([*line, based, '--base', path]) == 0
    for name, tensor in file.read(plain).tensors.items():
        stored = file.read(based).tensors[name]
        if name.startswith(('fire4', 'conv10')):
            assert not np.array_equal(tensor.dense(), base[name].dense()), name
            assert stored.values.dtype == (np.float32 if name.endswith('bias') else np.float16)
        else:
            np.testing.assert_array_equal(tensor.dense(), base[name].dense(), name)
            assert stored.values.dtype == base[name].values.dtype
            np.testing.assert_array_equal(stored.values, base[name].values, name)
            np.testing.assert_array_equal(stored.dense(), base[name].dense(), name)
    classifier.load(based, FP32)  # its self-test passes


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return weights of a ResNet-50 for other classes, as torchvision publishes them."""
    torch.manual_seed(4)
    state = build('resnet50_small', 5).state_dict()
    path = tmp_path_factory.mktemp('published') / 'resnet50.pth'
    torch.save({name: v for name, v in state.items() if not name.endswith('tracked')}, path)
    return path


def test_a_baseline_begins_with_published_weights_and_then_a_checkpoint(
    colors: Path, tmp_path: Path, published: Path, refusal: Refusal
) -> None:
    more = {'model__baseline': 'resnet50_small', 'data__size': '16'}
    line = arguments(colors, tmp_path, 1, **more, model__start=str(published))
    begun = train.prepared(line).model
    kernel = torch.load(published, weights_only=True)['layer3.0.conv2.weight']
    assert torch.equal(begun.net.layer3[0].conv2.weight, kernel)
    assert begun.net.fc.weight.shape == (3, 2048)
    trained = train.train(line).model
    last = {'model__start': str(tmp_path / 'last.ckpt')}
    again = train.prepared(arguments(colors, tmp_path / 'out', 1, **more, **last)).model
    assert torch.equal(again.net.fc.weight, trained.net.fc.weight.cpu())
    small, export_ = tmp_path / 'small', ['--name', 'net', '-o', str(tmp_path / 'o.sqz')]
    assert export.main([last['model__start'], *export_]) == 1
    train.train(arguments(colors, small, 1, data__size='16'))
    last = {'model__start': str(small / 'last.ckpt')}
    said = refusal(arguments(colors, tmp_path / 'out', 1, **more, **last), (1,))
    assert 'last.ckpt is of a SqueezeNet' in said


def test_other_published_weights_are_refused(
    colors: Path, tmp_path: Path, published: Path, refusal: Refusal
) -> None:
    torch.save([1, 2], tmp_path / 'list.pth')
    torch.save({'epoch': 3}, tmp_path / 'run.pth')
    (tmp_path / 'text.pth').write_text('weights')
    cases = [
        (str(published), 'alexnet_small', 'resnet50.pth is of another network'),
        (str(tmp_path / 'none.pth'), 'resnet50_small', 'none.pth: no such file'),
        (str(tmp_path / 'list.pth'), 'resnet50_small', "list.pth: torch can't read it"),
        (str(tmp_path / 'text.pth'), 'resnet50_small', "text.pth: torch can't read it"),
        (str(tmp_path / 'run.pth'), 'resnet50_small', 'run.pth is of another network'),
        ('runs/none/last.ckpt', 'resnet50_small', 'last.ckpt: no such file'),
        ('runs/cifar10.sqz', 'resnet50_small', 'cifar10.sqz is of a SqueezeNet'),
    ]
    for start, baseline, message in cases:
        more = {'model__baseline': baseline, 'model__start': start}
        said = refusal(arguments(colors, tmp_path / 'out', 1, **more), (1,))
        assert message in said, start


def test_norms_are_put_into_a_file_that_has_none(
    colors: Path, tmp_path: Path, start: Start
) -> None:
    """Its last layer is new; without new norms Muon could not train it."""
    path = start(architecture=replace(TINY, stem='tiny'), labels=('a', 'b', 'c', 'd'))
    more = {'model__architecture__stem': 'tiny', 'model__optimizer': 'muon'}
    line = recipe(colors, tmp_path, path, **NORMS, **more)
    cli = train.train(line)
    assert cli.trainer.callback_metrics['val/top1'] == 1
    out = tmp_path / 'out.sqz'
    assert export.main([str(tmp_path / 'best.ckpt'), '--name', 'colors', '-o', str(out)]) == 0
    assert evaluate(classifier.load(str(out), FP32), Archive(colors)).top(1) == 100


def test_a_resumed_run_keeps_its_norms_and_drops_the_same(
    colors: Path,
    tmp_path: Path,
    start: Start,
    train_until: Callable[[list[str], int], None],
) -> None:
    path = start()
    whole, broken = (
        recipe(colors, tmp_path / name, path, **NORMS, trainer__max_epochs='2')
        for name in ('whole', 'broken')
    )
    train.train(whole)
    train_until(broken, 1)
    train.train([*broken, '--ckpt_path', str(tmp_path / 'broken' / 'last.ckpt')])
    first, second = (
        load(str(tmp_path / of / 'last.ckpt')).state_dict() for of in ('whole', 'broken')
    )
    assert not [name for name, value in first.items() if not torch.equal(value, second[name])]
    rows = csv.DictReader((tmp_path / 'broken' / 'metrics.csv').open())
    (seconds,) = [row['train/seconds'] for row in rows if row['train/seconds']]
    assert 0 < float(seconds) < 60


@pytest.mark.parametrize('color', ['bgr', 'rgb'])
def test_a_robot_sees_what_training_saw(
    colors: Path, tmp_path: Path, start: Start, color: str
) -> None:
    base = file.read(path := start(color=color))
    slow = {'model__train_from': 'fire2', 'model__learning_rate': '0.01'}
    train.train(recipe(colors, tmp_path, path, **slow))
    out = tmp_path / 'out.sqz'
    assert export.main([str(tmp_path / 'best.ckpt'), '--name', 'colors', '-o', str(out)]) == 0
    loaded = classifier.load(str(out), FP32)
    assert replace(loaded.input, resize=base.input.resize) == base.input
    assert evaluate(loaded, Archive(colors)).top(1) == 100


def test_the_last_layer_alone_is_trained(colors: Path, tmp_path: Path, start: Start) -> None:
    base = file.read(path := start()).tensors
    train.train(recipe(colors, tmp_path, path, model__train_from='conv10'))
    assert base.keys() - unchanged(tmp_path, base) == {'conv10.weight', 'conv10.bias'}


def unchanged(run: Path, base: dict[str, Tensor]) -> set[str]:
    """Return what a run left, its norms folded, as it was in ``base``."""
    net = checkpoints.load_checkpoint(run / 'last.ckpt').net
    tensors = checkpoints.assembled(net, 'float32').tensors
    return {name for name in base if np.array_equal(tensors[name].dense(), base[name].dense())}


@pytest.mark.parametrize('first', ['fire4', 'conv10'])
def test_norms_before_what_is_trained_stay_as_they_are(
    colors: Path, tmp_path: Path, start: Start, first: str
) -> None:
    base = file.read(path := start()).tensors
    layers = ['conv1', *TINY.names(), 'conv10']
    frozen = layers[: layers.index(first)]
    expected = {name for name in base if name.split('.')[0] in frozen}
    more = {**NORMS, 'model__train_from': first}
    train.train(recipe(colors, tmp_path, path, **more))
    assert unchanged(tmp_path, base) == expected
    # From a checkpoint, whose norms do normalise.
    base = checkpoints.assembled(
        checkpoints.load_checkpoint(tmp_path / 'last.ckpt').net, 'float32'
    ).tensors
    again, last = tmp_path / 'again', str(tmp_path / 'last.ckpt')
    train.train(recipe(colors, again, last, **more))
    assert unchanged(again, base) == expected


def test_compression_leaves_alone_what_is_not_trained(
    colors: Path, tmp_path: Path, start: Start
) -> None:
    base = file.read(path := start()).tensors
    prune = ['--trainer.callbacks+=training.fitting.callbacks.PruneCallback']
    line = recipe(colors, tmp_path, path, trainer__max_epochs='1')
    train.train([*line, *prune, '--trainer.callbacks.density', '0.5'])
    net = checkpoints.load_checkpoint(tmp_path / 'last.ckpt').net
    np.testing.assert_array_equal(net.conv1.weight.detach(), base['conv1.weight'].dense())
    pruned = net.fires['fire4'].expand3x3.weight
    assert pruned.count_nonzero() == round(0.5 * pruned.numel())


@pytest.mark.parametrize('change', ['start', 'train_from'])
def test_a_run_goes_on_only_as_it_began(
    colors: Path, tmp_path: Path, start: Start, change: str
) -> None:
    line = recipe(colors, tmp_path, start(), trainer__max_epochs='1')
    train.train(line)
    last = ['--ckpt_path', str(tmp_path / 'last.ckpt'), '--trainer.max_epochs', '2']
    other = [f'--model.{change}', 'null', '--model.train_from', 'null']
    with pytest.raises(CheckpointInvalid, match='resume with the recipe'):
        train.train([*line, *last, *other])
    assert train.train([*line, *last]).trainer.current_epoch == 2


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model__architecture__base_e': '24'}, 'has fire2.squeeze1x1.weight (8, 96, 1, 1) where'),
        ({'model__architecture__fires': '2'}, "where the recipe's network has max_pool pool3"),
        ({'model__architecture__stem': 'small'}, 'conv conv1 of image, stride 2 where'),
        ({'model__architecture__bypass': 'simple'}, 'has add fire3.bypass'),
        ({'data__size': '32'}, 'not 32x32; set --data.size to 48'),
        ({'model__train_from': 'fire5'}, "no layer 'fire5' to train from; there are conv1, fire2"),
        ({'model__mean': '[1.0, 2.0, 3.0]'}, 'leave out --model.mean'),
        ({'model__baseline': 'alexnet_small'}, 'leave out --model.baseline'),
        ({'model__teacher_weight': '1.5'}, 'a weight between 0 and 1'),
        ({'model__temperature': '0'}, 'a temperature above 0'),
        ({'model__start': 'null'}, 'would stay random; give --model.start'),
        ({'model__start': '/nowhere/start.sqz'}, '/nowhere/start.sqz: No such file'),
        ({'model__start': __file__}, 'test_start.py: '),
    ],
)
def test_wrong_values_are_told_in_one_line(
    colors: Path,
    tmp_path: Path,
    start: Start,
    refusal: Refusal,
    change: dict[str, str],
    message: str,
) -> None:
    said = refusal(recipe(colors, tmp_path / 'out', start(), **change), (1,))
    (error,) = [row for row in said.splitlines() if 'error' in row]
    assert error.startswith('error: ')
    assert message in error
    assert not (tmp_path / 'out').exists()


def test_a_model_that_is_no_squeezenet_is_refused(tmp_path: Path) -> None:
    file.write(tiny_model(side=SIDE), path := tmp_path / 'tiny.sqz')
    with pytest.raises(ArchitectureInvalid, match='tiny.sqz: it has .*start from another file'):
        learner(str(path))
