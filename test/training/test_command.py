# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training import command
from training.command import replacing

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import sys, time
sys.stdout.write('importing\\n')
sys.stdout.flush()
time.sleep(60)
"""


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / 'result'
    path.write_text('old')
    with pytest.raises(ValueError, match='half'), replacing(path) as new:
        new.write_text('ne')
        raise ValueError('half')
    assert path.read_text() == 'old'
    with replacing(path) as new:
        new.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def fails(_: argparse.Namespace) -> None:
    raise ValueError('no\nroom at postgresql://me:s3cret@host/x')


def test_an_error_that_nobody_listed_is_one_line(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.run(fails, argparse.Namespace()) == 1
    line = 'error: ValueError: no room at postgresql://me:***@host/x; for the traceback, set '
    assert capsys.readouterr().err == line + 'SQZ_DEBUG=1\n'
    monkeypatch.setenv('SQZ_DEBUG', '1')
    assert command.run(fails, argparse.Namespace()) == 1
    told = capsys.readouterr().err
    assert told.startswith('Traceback')
    assert 's3cret' not in told


def test_a_line_that_is_refused_is_shown_without_its_password(
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        command.parser('x', '', '').parse_args(['--storag', 'mysql://me:s3cret@host/x'])
    assert 's3cret' not in capsys.readouterr().err


@pytest.mark.parametrize(('stand_in', 'code'), [(SLOW, -signal.SIGINT), ('1 / 0', 1)])
def test_ctrl_c_while_libraries_are_brought_in(stand_in: str, code: int, tmp_path: Path) -> None:
    """It ends the command without a word; what else goes wrong then is told as ever."""
    (tmp_path / 'torch.py').write_text(stand_in)
    with subprocess.Popen(
        [sys.executable, '-m', 'training.models', '--help'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        # A job in a shell's background ignores SIGINT, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() == 'importing\n':
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == '' if code < 0 else said.endswith('ZeroDivisionError: division by zero\n')
