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
"""Two processes of torchrun: they train as one does, and end together when one fails."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from class_pictures import color_members, write_zip  # noqa: E402
from training import train  # noqa: E402
from training.fitting import processes  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 600  # seconds, on the slowest of machines
# No norm: its means are of a process's own pictures. What is done to a picture is the same.
RECIPE = {
    'trainer.accelerator': 'cpu',
    'trainer.precision': '32-true',
    'trainer.max_epochs': '2',
    'trainer.enable_model_summary': 'false',
    'data.batch_size': '16',
    'data.shift': '2',
    'data.erase': '6',
    'data.mix': '0.5',
    'data.zoom': '0.2',
    'data.turn': '10',
    'data.light': '0.1',
    'model.architecture.base_e': '16',
    'model.architecture.incr_e': '0',
    'model.architecture.fires': '2',
    'model.architecture.norm': 'false',
    'model.optimizer': 'sgd',
    'model.learning_rate': '0.05',
    'model.momentum': '0.9',
}


def line(data: Path, out: Path, *more: str) -> list[str]:
    values = {**RECIPE, 'data.path': str(data), 'trainer.default_root_dir': str(out)}
    recipe = ['--config', str(ROOT / 'training' / 'recipes' / 'cifar10.yaml')]
    return [*recipe, *(part for k, v in values.items() for part in (f'--{k}', v)), *more]


def torchrun(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run training.train in two processes."""
    start = ('-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2')
    return subprocess.run(
        [sys.executable, *start, '-m', 'training.train', *arguments],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT / 'test'), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope='module')
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a zip with 3 classes and an odd number of pictures to validate on, nine."""
    return write_zip(tmp_path_factory.mktemp('data') / 'odd.zip', color_members(24, 3))


def test_two_processes_go_on_as_one_would(
    odd: Path, tmp_path: Path, train_until: Callable[[list[str], int], None]
) -> None:
    train.train(line(odd, tmp_path / 'one'))
    train_until(line(odd, tmp_path / 'two'), 1)
    last = str(tmp_path / 'two' / 'last.ckpt')
    done = torchrun(line(odd, tmp_path / 'two', '--ckpt_path', last))
    assert done.returncode == 0, done.stderr

    one, two = (
        torch.load(tmp_path / name / 'last.ckpt', weights_only=True) for name in ('one', 'two')
    )
    assert one['global_step'] == two['global_step'] == 8
    assert one['state_dict'].keys() == two['state_dict'].keys()
    for name, value in one['state_dict'].items():
        torch.testing.assert_close(two['state_dict'][name], value, rtol=1e-4, atol=1e-6, msg=name)
    # What SGD has gathered are the gradients of the steps before.
    gathered = [checkpoint['optimizer_states'][0]['state'] for checkpoint in (one, two)]
    assert gathered[0]
    for key, state in gathered[0].items():
        found = gathered[1][key]['momentum_buffer']
        torch.testing.assert_close(found, state['momentum_buffer'], rtol=1e-3, atol=1e-6)

    assert (tmp_path / 'two' / 'metrics.1.csv').exists()  # of the part before
    assert not (tmp_path / 'two' / 'metrics.2.csv').exists()
    alone, together = (metrics(tmp_path / name / 'metrics.csv') for name in ('one', 'two'))
    assert together.keys() == alone.keys()
    assert together == pytest.approx(alone, rel=1e-5)
    assert round(9 * alone['val/top1'], 4) % 1 == 0


def metrics(path: Path) -> dict[str, float]:
    """Return the metrics of the last epoch, each of which stands in one row of it."""
    rows = [row for row in csv.DictReader(path.open()) if row['epoch'] == '1']
    found = [
        (name, float(text))
        for row in rows
        for name, text in row.items()
        if name.startswith(('train/', 'val/')) and text and name != 'train/seconds'
    ]
    assert len(found) == len(dict(found)) == 5
    return dict(found)


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the processes say of their end; the rest is torchrun's."""
    assert done.returncode != 0
    assert '/training/train.py' not in done.stderr  # no traceback of ours
    return [row for row in done.stderr.splitlines() if row.startswith('error: ')]


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_ends_both(odd: Path, tmp_path: Path) -> None:
    (error,) = errors(torchrun(line(odd, tmp_path, '--trainer.callbacks+=failing.NoNumber')))
    assert 'the loss became nan in epoch 0, step 1; lower --model.learning_rate' in error


@pytest.mark.slow
def test_a_process_that_ends_alone_ends_the_other(odd: Path, tmp_path: Path) -> None:
    found = errors(torchrun(line(odd, tmp_path, '--trainer.callbacks+=failing.Ends')))
    assert 'error: this process alone ends' in found
    assert set(found[1:]) <= {'error: another training process exited; see its error above'}


@pytest.mark.slow
def test_what_all_processes_find_wrong_is_said_once(odd: Path, tmp_path: Path) -> None:
    (error,) = errors(torchrun(line(odd, tmp_path, '--data.batch_size', '15')))
    assert "2 processes can't share 15 pictures alike" in error


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand for torchrun: its store is there."""
    server = torch.distributed.TCPStore('localhost', 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    monkeypatch.setenv('MASTER_ADDR', 'localhost')
    monkeypatch.setenv('MASTER_PORT', str(server.port))
    yield
    del server


def test_the_same_is_reported_once(store: None, capsys: pytest.CaptureFixture) -> None:
    threads = [Thread(target=processes.report, args=['the same']) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    processes.report('another')
    assert capsys.readouterr().err == 'the same\nanother\n'


def test_a_report_needs_no_store(
    store: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv('MASTER_PORT')
    processes.report('what is wrong')
    monkeypatch.delenv('TORCHELASTIC_RUN_ID')
    processes.report('what is wrong')
    assert capsys.readouterr().err == 'what is wrong\n' * 2


def test_processes_on_several_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.settings() == {}
    found = {'TORCHELASTIC_RUN_ID': 'x', 'LOCAL_WORLD_SIZE': '2', 'WORLD_SIZE': '6'}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert processes.settings() == {'strategy': 'ddp', 'devices': 2, 'num_nodes': 3}
