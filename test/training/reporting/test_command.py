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
"""What the commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from training.reporting import command
from training.reporting.command import replacing


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
