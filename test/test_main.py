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
"""The commands as a person types them: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sqz_perception.__main__ import main
from sqz_perception.model import file
from tiny import LABELS, tiny_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / 'm.sqz'
    file.write(tiny_model(bias=50.0), path)
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / 'grey.png'
    cv2.imwrite(str(path), np.full((60, 80, 3), 128, np.uint8))
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'sqz_perception', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_info(model: Path) -> None:
    text = run('info', model)
    assert text.returncode == 0
    assert 'bucket, charger, dock, person, shelf' in text.stdout
    facts = json.loads(run('info', model, '--json').stdout)
    assert facts['identity'] == file.identity(tiny_model(bias=50.0))
    assert facts['parameters'] == 473
    assert facts['bytes'] == model.stat().st_size
    assert facts['labels'] == list(LABELS)


@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_verify(model: Path, backend: str) -> None:
    result = run('verify', model, '--backend', backend)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith('ok\n')
    assert file.identity(tiny_model(bias=50.0)) in result.stdout


def test_verify_runs_a_model_without_a_self_test(tmp_path: Path) -> None:
    model = tiny_model(dtype=np.float32)
    last = model.tensors['conv10.weight']
    last.values[:] = 3e38  # finite, but the logits are not
    file.write(model, tmp_path / 'm.sqz')
    result = run('verify', tmp_path / 'm.sqz')
    assert result.returncode == 1
    assert result.stderr.count('\n') == 1
    assert 'logits that are not finite' in result.stderr


def test_classify(model: Path, picture: Path) -> None:
    result = run('classify', model, picture, picture)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('bucket') == 2
    lines = run('classify', model, picture, picture, '--json', '--top-k', 2).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row['image'] for row in rows] == [str(picture)] * 2
    assert rows[0]['results'][0]['label'] == 'bucket'
    assert len(rows[0]['results']) == 2


def test_pictures_that_can_not_be_read_end_none_of_the_others(
    model: Path, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / 'broken.png').write_bytes(picture.read_bytes()[:-20])
    arguments = (tmp_path / 'broken.png', '/dev/null', tmp_path, picture)
    result = run('classify', model, *arguments, '--json')
    assert result.returncode == 1
    assert [json.loads(line)['image'] for line in result.stdout.splitlines()] == [str(picture)]
    broken, device, folder = result.stderr.splitlines()
    assert broken.startswith(f'error: {tmp_path}/broken.png: a PNG of ')
    assert device == 'error: /dev/null: a device, but no camera; give the file of a picture'
    assert folder == f'error: {tmp_path}: a folder; give the file of a picture'


@pytest.mark.parametrize('command', ['info', 'verify', 'classify'])
@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        ('missing', 'No such file or directory'),
        ('truncated', 'get the file again'),
        ('one bit', 'the checksum does not match'),
        ('newer', 'update sqz_perception'),
        ('a picture', 'not a .sqz model file'),
    ],
)
def test_a_bad_model_is_one_line_and_exit_code_1(
    model: Path, picture: Path, command: str, damage: str, message: str
) -> None:
    data = bytearray(model.read_bytes())
    if damage == 'missing':
        model.unlink()
    elif damage == 'truncated':
        model.write_bytes(data[:700])
    elif damage == 'one bit':
        data[700] ^= 1
        model.write_bytes(data)
    elif damage == 'newer':
        data[8] = 2
        model.write_bytes(data)
    else:
        model.write_bytes(picture.read_bytes())
    result = run(command, model, *([picture] if command == 'classify' else []))
    assert result.returncode == 1
    assert result.stdout == ''
    assert result.stderr.startswith(f'error: {model}: ')
    assert message in result.stderr
    assert result.stderr.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'code', 'message'),
    [
        (['classify', 'MODEL', 'nowhere.jpg'], 1, 'error: nowhere.jpg: No such file'),
        (['verify', 'MODEL', '--backend', 'abacus'], 1, 'choose one of auto, openvino'),
        (['verify', 'MODEL', '--threads', '-1'], 2, 'negative'),
        (['verify', 'MODEL', '--threads', 'many'], 2, 'invalid'),
        (['classify', 'MODEL'], 2, 'required: IMAGE'),
        (['explode', 'MODEL'], 2, 'invalid choice'),
        ([], 2, 'required: COMMAND'),
    ],
)
def test_bad_arguments(model: Path, arguments: list[str], code: int, message: str) -> None:
    result = run(*[model if argument == 'MODEL' else argument for argument in arguments])
    assert result.returncode == code
    assert message in result.stderr
    assert 'Traceback' not in result.stderr


def test_help_has_examples() -> None:
    assert 'python -m sqz_perception classify' in run('--help').stdout


def test_an_error_that_nobody_expected_is_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise MemoryError('cannot allocate\n8 GiB')

    monkeypatch.setattr(file, 'read_identified', fail)
    assert main(['info', str(model)]) == 1
    expected = 'error: MemoryError: cannot allocate 8 GiB; for the traceback, set SQZ_DEBUG=1\n'
    assert capsys.readouterr().err == expected
    monkeypatch.setenv('SQZ_DEBUG', '1')
    assert main(['info', str(model)]) == 1
    assert 'Traceback' in capsys.readouterr().err


def test_a_file_name_that_is_no_utf8(model: Path, picture: Path) -> None:
    odd = os.fsencode(picture.parent) + b'/caf\xe9.png'
    os.rename(picture, odd)
    result = run('classify', model, os.fsdecode(odd))
    assert result.returncode == 0, result.stderr
    assert 'caf\\udce9.png' in result.stdout
