# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C at the worst of times: it is neither lost nor does it harm."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from lightning_fabric.loggers.csv_logs import _ExperimentWriter  # noqa: E402

from tiny_runs import arguments  # noqa: E402
from training import train  # noqa: E402
from training.interrupt import deferred  # noqa: E402
from training.learner import Learner  # noqa: E402
from training.metrics import epochs  # noqa: E402

EPOCHS = 3


@pytest.fixture(autouse=True)
def as_at_a_terminal() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, and find it so again."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


class Finalised:
    """Has Ctrl-C come while it is taken away, where Python forgets what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def in_a_finaliser(patched: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come in the second epoch's first step."""
    step, due = Learner.training_step, [1]

    def interrupted(self: Learner, *batch: object) -> object:
        if self.current_epoch in due:
            due.clear()
            Finalised()
        return step(self, *batch)

    patched.setattr(Learner, 'training_step', interrupted)


def while_metrics_are_rewritten(patched: pytest.MonkeyPatch) -> None:
    """Have Ctrl-C come after a new column is noted and before older lines have one."""
    write, due = _ExperimentWriter._rewrite_with_new_header, [True]

    def interrupted(self: _ExperimentWriter, names: list[str]) -> None:
        if due:
            due.clear()
            signal.raise_signal(signal.SIGINT)
        write(self, names)

    patched.setattr(_ExperimentWriter, '_rewrite_with_new_header', interrupted)


@pytest.mark.filterwarnings('error::pytest.PytestUnraisableExceptionWarning')
@pytest.mark.parametrize('when', [in_a_finaliser, while_metrics_are_rewritten])
def test_a_run_ends_whole_and_goes_on(
    colors: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    when: Callable[[pytest.MonkeyPatch], None],
) -> None:
    line = ['train', *arguments(colors, tmp_path, EPOCHS)]
    with monkeypatch.context() as patched:
        patched.setattr(sys, 'argv', line)
        when(patched)
        assert train.main() == 130
    assert 'ended by SIGINT; --ckpt_path with last.ckpt goes on' in capsys.readouterr().err
    done = [row['epoch'] for row in epochs(tmp_path / 'metrics.csv') if 'val/top1' in row]
    assert done in ([0], [0, 1])
    monkeypatch.setattr(sys, 'argv', [*line, '--ckpt_path', str(tmp_path / 'last.ckpt')])
    assert train.main() == 0
    rows = epochs(tmp_path / 'metrics.csv')
    assert [row['epoch'] for row in rows if 'val/top1' in row] == list(range(EPOCHS))


def test_what_waits_comes_at_the_end_though_the_work_fails() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
        raise OSError('disk full')
    assert done == [True]


def test_a_second_one_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), deferred() as waiting:
        signal.raise_signal(signal.SIGINT)
        assert waiting == [signal.SIGINT]
        waiting_once = list(waiting)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert waiting == waiting_once


def test_one_that_was_answered_does_not_come_again() -> None:
    with deferred() as waiting:
        signal.raise_signal(signal.SIGINT)
        waiting.clear()


def test_an_ignored_one_stays_ignored() -> None:
    """As of what a script began in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with deferred() as waiting:
        signal.raise_signal(signal.SIGINT)
    assert waiting == []
    assert signal.signal(signal.SIGINT, signal.default_int_handler) is signal.SIG_IGN


def test_other_threads_leave_it_alone() -> None:
    seen = []

    def work() -> None:
        with deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
