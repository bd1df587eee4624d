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
"""What the tests of training share: an archive of pictures, and the real data where it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import fake_train
from class_pictures import color_members, write_zip
from tiny_runs import Refusal

SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'


@pytest.fixture(scope='session')
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a zip with 3 classes, 24 training and 4 validation pictures each."""
    return write_zip(tmp_path_factory.mktemp('data') / 'colors.zip', color_members(24, 4))


@pytest.fixture(scope='session', autouse=True)
def one_thread() -> None:
    """Use one thread: for networks this small, two only wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def curves() -> None:
    """Ask for what a run draws: its first pictures, and its curves at the end."""


@pytest.fixture(autouse=True)
def no_other_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other tests' runs draw none: it is half of a tiny run's time."""
    if 'curves' in request.fixturenames:
        return
    from training.reporting import plots

    monkeypatch.setattr(plots, 'curves', lambda *_: None)
    monkeypatch.setattr(plots, 'pictures', lambda *_: None)


class Killed(Exception):
    """Stands for whatever ends a run from outside."""


@pytest.fixture
def train_until(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], int], None]:
    """Return a function that trains until something ends the run in an epoch, counted from 0."""
    from training import train
    from training.fitting.learner import Learner

    def run(line: list[str], epoch: int) -> None:
        step = Learner.training_step

        def killed(self: Learner, *batch: object) -> object:
            if self.current_epoch == epoch:
                raise Killed
            return step(self, *batch)

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Learner, 'training_step', killed)
            train.train(line)

    return run


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Refusal:
    """Return a function that gives what the command training.train refuses a line with."""
    from training import train

    def of(line: list[str], codes: tuple[int, ...] = (1, 2)) -> str:
        monkeypatch.setattr(sys, 'argv', ['train', *line])
        try:
            code = train.main()
        except SystemExit as exit_:
            code = exit_.code
        assert code in codes
        said = capsys.readouterr().err
        assert 'Traceback' not in said
        return said

    return of


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let studies run test/fake_train.py, which takes no time, in the place of training.train."""
    from training.experiments import engine, runs

    net = SimpleNamespace(net=None, description=SimpleNamespace(size=32))
    monkeypatch.setattr(runs, 'COMMAND', (sys.executable, fake_train.__file__))
    monkeypatch.setattr(runs, 'load', lambda _: net)
    monkeypatch.setattr(runs, 'load_content', lambda _: None)
    monkeypatch.setattr(runs, 'measure', lambda *_: SimpleNamespace(parameters=7, macs=9))
    monkeypatch.setattr(runs, 'POLL', 0.02)
    monkeypatch.setattr(engine, 'POLL', 0.02)


@pytest.fixture
def archive_of(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Return a function that writes a zip with the given members."""
    return lambda members: write_zip(tmp_path / 'pictures.zip', members)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Return a function that finds a file of the real data, or skips the test."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_file():
            pytest.skip(f'{name} is data that is not part of this repository')
        return SHARED / name

    return find
