# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher's answers: kept for the pictures they are to, and learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from class_pictures import COLORS, color_members, write_zip  # noqa: E402
from sqz_perception.errors import DataError, TrainingError  # noqa: E402
from tiny_runs import arguments  # noqa: E402
from training import answers, train  # noqa: E402
from training.architecture import PRESETS  # noqa: E402
from training.augmentation import Augmentation, change, draw  # noqa: E402
from training.data import PictureData  # noqa: E402
from training.learner import Learner, distance, load  # noqa: E402
from training.pictures import read_split  # noqa: E402
from training.sources import ArchiveSource  # noqa: E402

RECIPES = Path(train.__file__).parent / 'recipes'
HOW = Augmentation(4, True, 6, 0.5, seed=1, zoom=0.2, turn=10.0, light=0.1)
CHANGES = {'erase': '6', 'mix': '0.5', 'zoom': '0.2', 'turn': '10.0', 'light': '0.1'}
OPTIONS = ['--seed', '1', '--epochs', '3', *(f'--{k}={v}' for k, v in CHANGES.items())]
RECIPE = {f'data__{k}': v for k, v in CHANGES.items()}
DATA = {k: float(v) for k, v in CHANGES.items()} | {'seed': 1, 'erase': 6}


@pytest.fixture(scope='module')
def teacher(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a network that knows the colours."""
    folder = tmp_path_factory.mktemp('teacher')
    cli = train.train(arguments(colors, folder, 4))
    assert cli.trainer.callback_metrics['val/top1'] == 1
    return folder / 'best.ckpt'


@pytest.fixture(scope='module')
def told(teacher: Path, colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of its answers."""
    path = tmp_path_factory.mktemp('answers') / 'answers.npz'
    assert answers.main([str(teacher), '--data', str(colors), *OPTIONS, '-o', str(path)]) == 0
    return path


def test_answers_are_the_teacher_s_to_each_picture_as_it_is_changed_in_each_epoch(
    teacher: Path, told: Path, colors: Path
) -> None:
    source = ArchiveSource(str(colors))
    found = answers.read(str(told), source, 32, HOW)
    assert found.shape == (72, 3, 3)
    names = [name for name, _ in source.split('train')]
    images = torch.stack(
        [torch.from_numpy(source.picture(name)[:, :, ::-1].copy()) for name in names]
    )
    changed = change(images, torch.arange(72), draw(72, 32, HOW, 2), images)
    with torch.inference_mode():
        logits = load(str(teacher))(changed)
    assert found[:, 2].float().numpy() == pytest.approx(logits.numpy(), abs=0.05)
    assert not torch.equal(found[:, 1], found[:, 2])


def test_the_trainer_sees_what_the_teacher_saw(told: Path, teacher: Path, colors: Path) -> None:
    """Asked anew about the trainer's batches, in an epoch after the last, it answers the same."""
    data = PictureData(str(colors), answers=str(told), **DATA)
    data.trainer = SimpleNamespace(
        current_epoch=4, global_rank=0, world_size=1, num_devices=1, training=True
    )
    data.setup()
    which = torch.tensor([50, 3, 71])
    whole = data.splits['train']
    batch = whole.images[which], whole.targets[which], which
    images, targets, said = data.on_after_batch_transfer(batch, 0)
    with torch.inference_mode():
        assert load(str(teacher))(images).numpy() == pytest.approx(said.numpy(), abs=0.05)
    assert targets.shape == (3, 3)
    assert targets.sum(1).tolist() == pytest.approx([1, 1, 1])


def test_on_a_gpu_nothing_comes_from_the_processor_in_each_step(told: Path, colors: Path) -> None:
    """It would have to wait for it. A make-believe GPU refuses to mix what lies on both."""
    data = PictureData(str(colors), answers=str(told), **DATA)
    data.trainer = SimpleNamespace(
        current_epoch=0, global_rank=0, world_size=1, num_devices=1, training=True
    )
    data.setup()
    with FakeTensorMode(allow_non_fake_inputs=True):
        batch = tuple(torch.empty_like(v, device='cuda') for v in data.splits['train'][:8])
        which = torch.empty(8, dtype=torch.int64, device='cuda')
        data.on_after_batch_transfer((*batch, which), 0)
        now = data.drawn
        found = data.on_after_batch_transfer((*batch, which), 0)
    assert data.drawn is now
    assert [v.device.type for v in found] == ['cuda'] * 3
    assert [tuple(v.shape) for v in found] == [(8, 32, 32, 3), (8, 3), (8, 3)]


def test_the_recipes_follow_each_other_as_the_manual_says(colors: Path, tmp_path: Path) -> None:
    told = tmp_path / 'answers.npz'

    def run(recipes: Sequence[str], out: str, *more: str) -> Learner:
        line = [f'--config={RECIPES / recipe}' for recipe in recipes]
        where = ['--trainer.default_root_dir', str(tmp_path / out), '--trainer.max_epochs', '1']
        quick = ['--trainer.precision', '32-true', '--trainer.enable_model_summary', 'false']
        return train.train([*line, '--data.path', str(colors), *where, *quick, *more]).model

    for part in '01':
        left_out = ['--data.parts', '2', '--data.leave_out', part, '--model.enlarge', '1']
        run(['teacher.yaml'], f'first-{part}', *left_out)
        start = ['--model.start', str(tmp_path / f'first-{part}' / 'last.ckpt')]
        run(['teacher.yaml', 'larger.yaml'], f'left-out-{part}', *left_out, *start)
    teachers = [str(tmp_path / f'left-out-{part}' / 'last.ckpt') for part in '01']
    line = [*teachers, '--mirror', '--data', str(colors), '--epochs', '2']
    assert answers.main([*line, '-o', str(told)]) == 0
    more = ['--data.answers', str(told), '--data.parts', '2', '--trainer.check_val_every_n_epoch']
    taught = run(['taught.yaml'], 'taught', *more, '1')
    shipped = replace(PRESETS['squeezenet_small_deep'], classes=3)
    assert taught.net.architecture == shipped
    quick = ['--data.batch_size', '16', '--trainer.callbacks.after', '1', '--model.start']
    start = str(tmp_path / 'taught' / 'last.ckpt')
    ended = run(['taught.yaml', 'mean.yaml'], 'mean', *more, '1', *quick, start)
    assert ended.description == taught.description
    changed = ['--zoom', '0.2', '--turn', '15', '--light', '0.3', '--seed', '5']
    assert answers.main([*line, *changed, '-o', str(told)]) == 0
    start = str(tmp_path / 'mean' / 'last.ckpt')
    recipes = ['taught.yaml', 'mean.yaml', 'robust.yaml']
    robust = run(recipes, 'robust', *more, '1', *quick, start)
    assert robust.description == taught.description


def test_several_teachers_answer_with_their_mean(teacher: Path) -> None:
    first, second = load(str(teacher)), load(str(teacher))
    with torch.no_grad():
        second.net.conv10.bias.add_(torch.tensor([2.0, 0.0, 0.0]))
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    alone, both = (
        answers.answer(teachers, images, HOW, 2) for teachers in ([first], [first, second])
    )
    apart = (both - alone).float().reshape(-1, 3)
    assert apart == pytest.approx(np.tile([1, 0, 0], (10, 1)), abs=0.05)


@pytest.fixture(scope='module')
def halves(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the checkpoints of two networks, each trained on half of the pictures."""
    folder = tmp_path_factory.mktemp('halves')
    for part in '01':
        left_out = {'data__parts': '2', 'data__leave_out': part}
        train.train(arguments(colors, folder / part, 2, **left_out))
    return [folder / part / 'last.ckpt' for part in '01']


def test_a_picture_is_answered_by_the_teacher_that_does_not_know_it(
    halves: list[Path], colors: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'answers.npz'
    # In any order: each says what it has left out.
    line = [str(halves[1]), str(halves[0]), '--data', str(colors), *OPTIONS, '-o', str(out)]
    assert answers.main(line) == 0
    source, how = ArchiveSource(str(colors)), replace(HOW, parts=2)
    found = answers.read(str(out), source, 32, how)
    images = read_split(source, 'train', 32, quiet=True).images
    for part, path in enumerate(halves):
        which = torch.arange(part, 72, 2)
        with torch.inference_mode():
            logits = load(str(path))(change(images[which], which, draw(72, 32, how, 1), images))
        assert found[which, 1].float().numpy() == pytest.approx(logits.numpy(), abs=0.05)
    with pytest.raises(DataError, match=r'other parts \(2\) than the recipe has \(1\)'):
        answers.read(str(out), source, 32, HOW)


def test_teachers_that_know_some_pictures_are_refused(
    halves: list[Path], teacher: Path, colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def refusal(*teachers: Path) -> str:
        line = [*map(str, teachers), '--data', str(colors), '-o', str(tmp_path / 'a.npz')]
        assert answers.main(line) == 1
        return capsys.readouterr().err

    assert 'was trained on part 1 of 2; add one' in refusal(halves[0])
    assert 'have left out different shares' in refusal(*halves, teacher)


def test_mirror_images_are_asked_about_too(teacher: Path) -> None:
    still = Augmentation(shift=0, flip=False, erase=0, mix=0.0, seed=1)
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    alone, both = (
        answers.answer([load(str(teacher))], of, still, 1).float()
        for of in (images, images.flip(2))
    )
    assert not torch.allclose(alone, both, atol=0.05)
    mirrored = answers.answer([load(str(teacher))], images, still, 1, mirror=True).float()
    assert mirrored.numpy() == pytest.approx((alone + both).numpy() / 2, abs=0.05)


def test_what_the_teacher_says_is_learned_and_not_the_classes(
    told: Path, teacher: Path, colors: Path, tmp_path: Path
) -> None:
    """The same pictures and answers, and each colour called by the next one's name."""
    source = ArchiveSource(str(colors))
    turned = answers.read(str(told), source, 32, HOW).roll(1, dims=2)
    answers.write(tmp_path / 'turned.npz', turned, source, 32, HOW)
    taught = {'data__answers': str(tmp_path / 'turned.npz'), 'model__teacher_share': '1'}
    more = RECIPE | taught
    cli = train.train(arguments(colors, tmp_path / 'run', 8, **more))
    assert cli.trainer.callback_metrics['val/top1'] == 0


def test_a_resumed_run_is_taught_the_same(
    told: Path,
    colors: Path,
    tmp_path: Path,
    train_until: Callable[[list[str], int], None],
) -> None:
    whole, broken = (
        arguments(colors, tmp_path / name, 2, data__answers=str(told), **RECIPE)
        for name in ('whole', 'broken')
    )
    train.train(whole)
    train_until(broken, 1)
    train.train([*broken, '--ckpt_path', str(tmp_path / 'broken' / 'last.ckpt')])
    first, second = (
        torch.load(tmp_path / name / 'last.ckpt', weights_only=True)['state_dict']
        for name in ('whole', 'broken')
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_distance_is_none_from_the_same_answers_and_alike_at_any_temperature() -> None:
    logits, other = torch.randn(
        2, 64, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    assert distance(logits, logits + 3, 2.0) == pytest.approx(0, abs=1e-6)
    warm, hot = (distance(0.01 * logits, 0.01 * other, t).item() for t in (1.0, 10.0))
    assert warm == pytest.approx(hot, rel=0.02)
    assert warm > 0


def test_answers_to_other_pictures_are_refused(told: Path, tmp_path: Path) -> None:
    fewer = write_zip(tmp_path / 'fewer.zip', color_members(23, 4))
    with pytest.raises(DataError, match='for other pictures'):
        answers.read(str(told), ArchiveSource(str(fewer)), 32, HOW)


def test_answers_for_another_recipe_are_refused(told: Path, colors: Path) -> None:
    source = ArchiveSource(str(colors))
    with pytest.raises(DataError, match=r'other shift \(4\) than the recipe has \(3\)'):
        answers.read(str(told), source, 32, replace(HOW, shift=3))
    with pytest.raises(DataError, match=r'other mix \(0.5\) than the recipe has \(0.0\)'):
        answers.read(str(told), source, 32, replace(HOW, mix=0.0))
    with pytest.raises(DataError, match=r'other size \(32\)'):
        answers.read(str(told), source, 24, HOW)


def test_answers_of_before_a_change_was_possible_are_to_unchanged_pictures(
    told: Path, colors: Path, tmp_path: Path
) -> None:
    with np.load(told) as found:
        kept = {key: found[key] for key in found if key not in ('zoom', 'turn', 'light')}
    np.savez(path := tmp_path / 'earlier.npz', **kept)
    still = replace(HOW, zoom=0.0, turn=0.0, light=0.0)
    source = ArchiveSource(str(colors))
    assert answers.read(str(path), source, 32, still).numpy() == pytest.approx(kept['answers'])
    with pytest.raises(DataError, match=r'other zoom \(0.0\) than the recipe has \(0.2\)'):
        answers.read(str(path), source, 32, HOW)


@pytest.mark.parametrize('damage', ['cut', 'text', 'other', 'shape', 'empty', 'gone'])
def test_a_file_of_no_answers_is_refused(
    told: Path, colors: Path, tmp_path: Path, damage: str
) -> None:
    path, source = tmp_path / 'bad.npz', ArchiveSource(str(colors))
    if damage == 'cut':
        path.write_bytes(told.read_bytes()[:900])
    if damage == 'text':
        path.write_text('answers')
    if damage == 'other':
        np.savez(path, weights=np.zeros(3))
    if damage == 'shape':
        answers.write(path, torch.zeros(72, 18, 4, dtype=torch.float16), source, 32, HOW)
    if damage == 'empty':
        answers.write(path, torch.zeros(72, 0, 3, dtype=torch.float16), source, 32, HOW)
    with pytest.raises(DataError, match='no such file' if damage == 'gone' else 'no answers'):
        answers.read(str(path), source, 32, HOW)


@pytest.mark.parametrize(
    ('more', 'option'), [({}, '--data.answers'), ({'data__answers': 'null'}, '--data.mix')]
)
def test_answers_and_mixing_are_refused_where_pictures_are_streamed(
    told: Path, colors: Path, tmp_path: Path, more: dict[str, str], option: str
) -> None:
    streamed = {'data__memory_gib': '0', 'data__workers': '0', 'data__answers': str(told)}
    with pytest.raises(DataError, match=f'{option} is .* raise --data.memory_gib to 1'):
        train.train(arguments(colors, tmp_path, 1, **(streamed | RECIPE | more)))


def test_a_teacher_of_other_classes_is_refused(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = {name: data for name, data in color_members(2, 1).items() if 'red' not in name}
    data = write_zip(tmp_path / 'two.zip', two)
    out = tmp_path / 'answers.npz'
    assert answers.main([str(teacher), '--data', str(data), '-o', str(out)]) == 1
    assert 'two.zip has other classes than the network' in capsys.readouterr().err
    assert not out.exists()


def test_teachers_of_two_sizes_are_refused(
    teacher: Path, colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, out = tmp_path / 'other.ckpt', tmp_path / 'answers.npz'
    content = torch.load(teacher, weights_only=True)
    content['sqz_perception']['size'] = 64
    torch.save(content, other)
    assert answers.main([str(teacher), str(other), '--data', str(colors), '-o', str(out)]) == 1
    assert 'for pictures of 32 and 64 pixels' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    'wrong', [['--shift', '32'], ['--mix', '2'], ['--erase', '-1'], ['--turn', '200']]
)
def test_changes_that_can_not_be_are_refused(
    teacher: Path,
    colors: Path,
    tmp_path: Path,
    wrong: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = [str(teacher), '--data', str(colors), *wrong, '-o', str(tmp_path / 'a.npz')]
    assert answers.main(line) == 1
    assert wrong[0].removeprefix('--') in capsys.readouterr().err


@pytest.mark.parametrize('values', [{'teacher_share': 1.5}, {'temperature': 0.0}])
def test_shares_and_temperatures_that_can_not_be_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match='must be between'):
        Learner(PRESETS['squeezenet_small'], tuple(COLORS), 32, **values)
