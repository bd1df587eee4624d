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
"""Distillation: the teacher sees what the student sees, and the student learns its logits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from class_pictures import color_members, write_zip  # noqa: E402
from tiny_runs import Refusal, arguments  # noqa: E402
from training import train  # noqa: E402
from training.errors import TrainingError  # noqa: E402
from training.fitting.distillation import distance, from_timm  # noqa: E402
from training.fitting.learner import find_teacher, load  # noqa: E402

COLORS = ('blue', 'green', 'red')


@pytest.fixture(scope='module')
def teacher(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the checkpoint of a network for images of 24 pixels that knows the colours."""
    folder = tmp_path_factory.mktemp('teacher')
    cli = train.train(arguments(colors, folder, 4, data__size='24'))
    assert cli.trainer.callback_metrics['val/top1'] == 1
    return str(folder / 'best.ckpt')


def test_a_checkpoint_sees_the_images_at_its_own_size(teacher: str) -> None:
    images = torch.randint(0, 256, (2, 24, 24, 3), dtype=torch.uint8)
    known = find_teacher(teacher, COLORS)
    torch.testing.assert_close(known.logits(images), load(teacher)(images))
    plain = images[:, :1, :1].expand(-1, 50, 50, -1)  # of one colour each: alike at any size
    expected = load(teacher)(plain[:, :24, :24])
    torch.testing.assert_close(known.logits(plain), expected, rtol=1e-3, atol=1e-3)
    assert not known.logits(plain).requires_grad


def test_the_teachers_logits_are_learned_and_not_the_classes(
    teacher: str, colors: Path, tmp_path: Path
) -> None:
    """A teacher that calls each colour by the next one's name."""
    content = torch.load(teacher, weights_only=True)
    for name in ('weight', 'bias'):
        content['state_dict'][f'net.conv10.{name}'] = content['state_dict'][
            f'net.conv10.{name}'
        ].roll(1, 0)
    torch.save(content, wrong := str(tmp_path / 'wrong.ckpt'))
    more = {'model__teacher': wrong, 'model__teacher_weight': '1'}
    cli = train.train(arguments(colors, tmp_path / 'run', 8, **more))
    assert cli.trainer.callback_metrics['val/top1'] == 0
    left = torch.load(tmp_path / 'run' / 'last.ckpt', weights_only=True)['state_dict']
    assert left.keys() == content['state_dict'].keys()  # the student alone


def test_a_resumed_run_learns_the_same(
    teacher: str,
    colors: Path,
    tmp_path: Path,
    train_until: Callable[[list[str], int], None],
) -> None:
    whole, broken = (
        arguments(colors, tmp_path / name, 2, model__teacher=teacher, data__mix='0.5')
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


def test_the_distance_is_none_from_the_same_logits_and_alike_at_any_temperature() -> None:
    logits, other = torch.randn(
        2, 64, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    assert distance(logits, logits + 3, 2.0) == pytest.approx(0, abs=1e-6)
    warm, hot = (distance(0.01 * logits, 0.01 * other, t).item() for t in (1.0, 10.0))
    assert warm == pytest.approx(hot, rel=0.02)
    assert warm > 0


def test_a_teacher_of_other_classes_is_refused(
    teacher: str, tmp_path: Path, refusal: Refusal
) -> None:
    two = {name: data for name, data in color_members(2, 1).items() if 'red' not in name}
    data = write_zip(tmp_path / 'two.zip', two)
    said = refusal(arguments(data, tmp_path / 'out', 1, model__teacher=teacher), (1,))
    assert 'best.ckpt has other classes than the data; give a checkpoint' in said


def test_a_teacher_that_needs_timm_is_one_line_without_it(
    colors: Path, tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    said = refusal(arguments(colors, tmp_path / 'out', 1, model__teacher='resnet18'), (1,))
    assert said.strip().splitlines()[-1] == (
        'error: teacher resnet18: timm is not installed; pip install timm, or give a checkpoint '
        '(.ckpt) of training.train'
    )


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., torch.nn.Module]:
    """Let timm give random weights, the same each time, in place of those that it downloads."""
    timm = pytest.importorskip('timm')
    create = timm.create_model

    def seeded(name: str, pretrained: bool = True) -> torch.nn.Module:
        torch.manual_seed(0)
        return create(name)

    monkeypatch.setattr(timm, 'create_model', seeded)
    return partial(seeded, 'test_vit')


def test_a_timm_model_has_its_own_normalisation_and_its_own_order(
    untrained: Callable[..., torch.nn.Module],
) -> None:
    """The classes are told by WordNet id or by synonyms, as training.sources names them."""
    labels = ('n01484850', 'tench, Tinca tinca', 'crane (n03126707)')
    teacher = from_timm('test_vit', labels)
    net = untrained().eval()
    assert net.pretrained_cfg['mean'] == (0.5, 0.5, 0.5)
    images = torch.randint(0, 256, (2, *teacher.size, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = net(images.permute(0, 3, 1, 2) / 127.5 - 1)[:, [2, 0, 517]]
    torch.testing.assert_close(teacher.logits(images), expected, rtol=1e-4, atol=1e-4)
    assert teacher.logits(images[:, ::2, ::2]).shape == (2, 3)


def test_a_timm_model_that_does_not_know_a_class_is_refused(
    untrained: Callable[..., torch.nn.Module],
) -> None:
    with pytest.raises(TrainingError, match='does not know the class blue, green, red among its'):
        from_timm('test_vit', COLORS)


def test_a_name_that_timm_does_not_know_is_one_line() -> None:
    pytest.importorskip('timm')
    with pytest.raises(
        TrainingError, match=r'teacher no_net: timm can not load it: .*; timm.list'
    ):
        from_timm('no_net', COLORS)
