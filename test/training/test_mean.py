# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Means of weights: of those that a run passes, and of several runs."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from pytorch_lightning import Callback  # noqa: E402

from class_pictures import COLORS, color_members, write_zip  # noqa: E402
from sqz_perception.errors import TrainingError  # noqa: E402
from tiny_runs import Refusal, arguments  # noqa: E402
from training import export, mean, train  # noqa: E402
from training.learner import load  # noqa: E402
from training.pictures import read_split  # noqa: E402
from training.sources import ArchiveSource  # noqa: E402

WEIGHT = 'net.fires.fire2.expand3x3.weight'
VARIANCE = 'net.norm1.running_var'


class Passed(Callback):
    """Remembers the weights after each step."""

    def __init__(self) -> None:
        self.states = []

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.states.append({k: v.clone() for k, v in pl_module.state_dict().items()})


def averaged(colors: Path, out: Path, epochs: int, **more: str) -> list[str]:
    """Return the line of a run of four steps an epoch that ends with a mean."""
    line = arguments(colors, out, epochs, model__optimizer='muon', **more)
    chosen = ['--trainer.callbacks+=training.mean.MeanCallback', '--trainer.callbacks.after', '3']
    return [*line, *chosen, '--trainer.callbacks.every', '2']


def test_a_run_ends_with_the_mean_of_the_weights_it_passes(colors: Path, tmp_path: Path) -> None:
    cli = train.prepared(averaged(colors, tmp_path, 2))
    passed = Passed()
    cli.trainer.callbacks.append(passed)
    train.fit(cli)
    assert len(passed.states) == 8
    kept = torch.load(tmp_path / 'last.ckpt', weights_only=True)['state_dict']
    for name in (WEIGHT, VARIANCE):
        wanted = torch.stack([passed.states[i][name] for i in (3, 5, 7)]).mean(0)
        torch.testing.assert_close(kept[name], wanted)
        torch.testing.assert_close(cli.model.state_dict()[name], wanted)


def test_the_rate_rises_and_stays(colors: Path, tmp_path: Path) -> None:
    cli = train.prepared(averaged(colors, tmp_path, 2, model__others_rate='0.5'))
    seen: list[list[float]] = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
            seen.append([group['lr'] for group in optimizer.param_groups])

    cli.trainer.callbacks.append(Rates())
    train.fit(cli)
    shares = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert seen == [pytest.approx([0.05 * share, 0.5 * share]) for share in shares]


def test_a_mean_goes_on_after_a_kill_as_if_unbroken(colors: Path, tmp_path: Path) -> None:
    train.train(averaged(colors, tmp_path / 'whole', 3))
    cli = train.prepared(averaged(colors, tmp_path / 'part', 3))

    class Killed(Callback):
        def on_train_batch_start(self, trainer, *_) -> None:
            if trainer.current_epoch == 2:
                raise KeyboardInterrupt

    cli.trainer.callbacks.append(Killed())
    with pytest.raises(KeyboardInterrupt):
        train.fit(cli)
    resumed = ['--ckpt_path', str(tmp_path / 'part' / 'last.ckpt')]
    train.train([*averaged(colors, tmp_path / 'part', 3), *resumed])
    whole, part = (
        torch.load(tmp_path / run / 'last.ckpt', weights_only=True)['state_dict']
        for run in ('whole', 'part')
    )
    torch.testing.assert_close(whole, part, rtol=0, atol=0)


def test_a_run_too_short_for_a_mean_is_refused(
    colors: Path, tmp_path: Path, refusal: Refusal
) -> None:
    line = arguments(colors, tmp_path, 1)
    said = refusal([*line, '--trainer.callbacks+=training.mean.MeanCallback'], (1,))
    assert 'the run has 4 steps, and the mean begins after 100; raise --trainer' in said
    with pytest.raises(TrainingError, match='every 0 at least 1'):
        mean.MeanCallback(every=0)


@pytest.fixture(scope='module')
def runs(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the checkpoints of two runs of one network, and of one that is wider."""
    folder = tmp_path_factory.mktemp('runs')
    for name, changes in (('a', {}), ('b', {}), ('wider', {'model__architecture__base_e': '24'})):
        rate = {'model__learning_rate': '0.05' if name == 'a' else '0.01'}
        train.train(arguments(colors, folder / name, 1, **rate, **changes))
    return [folder / name / 'last.ckpt' for name in ('a', 'b', 'wider')]


def test_the_mean_of_runs_is_a_checkpoint(
    runs: list[Path], colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'mean.ckpt'
    plain = ['--shift', '0', '--no-flip', '--erase', '0', '--mix', '0', '-o', str(out)]
    assert mean.main([*map(str, runs[:2]), '--data', str(colors), *plain]) == 0
    assert 'the mean of 2 checkpoints' in capsys.readouterr().out
    first, second, found = (
        torch.load(path, weights_only=True)['state_dict'] for path in (*runs[:2], out)
    )
    assert not torch.equal(first[WEIGHT], second[WEIGHT])
    torch.testing.assert_close(found[WEIGHT], (first[WEIGHT] + second[WEIGHT]) / 2)
    learner = load(str(out))
    images = read_split(ArchiveSource(str(colors)), 'train', 32).images
    values = learner.net.conv1(learner.normalised(images))  # what the first norm normalises
    assert not torch.allclose(found[VARIANCE], (first[VARIANCE] + second[VARIANCE]) / 2, rtol=0.01)
    torch.testing.assert_close(found[VARIANCE], values.var((0, 2, 3)), rtol=1e-4, atol=0)
    assert export.main([str(out), '--name', 'net', '-o', str(tmp_path / 'net.sqz')]) == 0


def test_norms_that_were_not_trained_are_not_measured(
    runs: list[Path], colors: Path, tmp_path: Path
) -> None:
    frozen = {'model__start': str(runs[0]), 'model__train_from': 'fire3', 'model__mean': 'null'}
    line = arguments(colors, tmp_path / 'frozen', 1, **frozen, model__std='null')
    train.train(line)
    out = tmp_path / 'mean.ckpt'
    last = str(tmp_path / 'frozen' / 'last.ckpt')
    assert mean.main([last, '--data', str(colors), '-o', str(out)]) == 0
    before, after = (torch.load(path, weights_only=True)['state_dict'] for path in (runs[0], out))
    same = {name for name in before if 'running' in name and before[name].equal(after[name])}
    assert same == {
        f'net.{norm}.running_{kind}'
        for norm in ('norm1', 'fires.fire2.squeeze_norm', 'fires.fire2.expand_norm')
        for kind in ('mean', 'var')
    }


def test_runs_of_several_networks_have_no_mean(
    runs: list[Path], colors: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'text.ckpt').write_text('weights')
    content = torch.load(runs[1], weights_only=True)
    del content['state_dict'][WEIGHT]
    torch.save(content, tmp_path / 'less.ckpt')
    for other, message in (
        (runs[2], 'wider/last.ckpt is of another network than'),
        (tmp_path / 'none.ckpt', 'none.ckpt: no such file'),
        (tmp_path / 'less.ckpt', 'less.ckpt: no checkpoint of this training.train'),
        (tmp_path / 'text.ckpt', 'text.ckpt: no checkpoint of this training.train'),
    ):
        line = [str(runs[0]), str(other), '--data', str(colors)]
        assert mean.main([*line, '-o', str(tmp_path / 'o.ckpt')]) == 1
        said = capsys.readouterr().err
        assert message in said
        assert said.count('\n') == 1
    assert not (tmp_path / 'o.ckpt').exists()


def test_pictures_of_other_classes_are_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = f'/{next(iter(COLORS))}/'
    members = {k: v for k, v in color_members(4, 2).items() if first not in k}
    two = write_zip(tmp_path / 'two.zip', members)
    assert mean.main([str(runs[0]), '--data', str(two), '-o', str(tmp_path / 'o.ckpt')]) == 1
    assert 'two.zip has other classes than' in capsys.readouterr().err
