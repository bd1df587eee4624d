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
"""What was fastest is remembered; whatever is wrong with the file costs a measurement only."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sqz_perception.inference import cache, processor
from sqz_perception.inference.backend import Candidate, Runtime
from tiny import int8_model, tiny_model

KEY = 'k' * 32
FASTEST = Candidate('openvino', 'int8')
NOTHING = (None, '')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / 'cache'))
    return tmp_path / 'cache'


def test_what_is_remembered_is_recalled(folder: Path) -> None:
    assert cache.recall(KEY) == NOTHING
    assert cache.remember(KEY, FASTEST, '1 ms') == []
    assert cache.remember('l' * 32, Candidate('onnxruntime', 'fp32'), '2 ms') == []
    assert cache.recall(KEY) == (FASTEST, '1 ms')
    assert cache.remember(KEY, Candidate('openvino', 'fp32'), '3 ms') == []
    assert cache.recall(KEY) == (Candidate('openvino', 'fp32'), '3 ms')
    assert sorted(path.name for path in folder.iterdir()) == [cache.FILE]


def test_the_file_stays_small_and_keeps_the_latest(folder: Path) -> None:
    for number in range(3 * cache.MAX_ENTRIES):
        cache.remember(f'{number:032}', FASTEST, 'x' * 1000)
    assert (folder / cache.FILE).stat().st_size <= cache.MAX_BYTES
    assert cache.recall(f'{3 * cache.MAX_ENTRIES - 1:032}')[0] == FASTEST
    assert cache.recall(f'{0:032}') == NOTHING


def test_no_folder_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER, raising=False)
    for name in ('XDG_CACHE_HOME', 'HOME'):
        monkeypatch.setenv(name, 'relative')
    assert cache.folder() is None
    assert cache.remember(KEY, FASTEST, '1 ms') == []
    assert cache.recall(KEY) == NOTHING


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.FOLDER, raising=False)
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setenv('HOME', '/home/robot')
    assert cache.folder() == Path('/home/robot/.cache/sqz_perception')
    monkeypatch.setenv('XDG_CACHE_HOME', '/var/cache/robot')
    assert cache.folder() == Path('/var/cache/robot/sqz_perception')
    monkeypatch.setenv(cache.FOLDER, '/data/sqz')
    assert cache.folder() == Path('/data/sqz')
    monkeypatch.setenv(cache.FOLDER, '')
    assert cache.folder() is None


def test_a_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'file').write_text('')
    for folder in (tmp_path / 'file', tmp_path / 'file' / 'cache', Path('nul\0')):
        monkeypatch.setattr(cache, 'folder', lambda folder=folder: folder)
        (reason,) = cache.remember(KEY, FASTEST, '1 ms')
        assert reason.startswith(f'not remembered: {folder}: ')
        assert 'set SQZ_PERCEPTION_CACHE to another folder' in reason
        assert cache.recall(KEY) == NOTHING


def document(entry: object = None, **more: object) -> dict[str, object]:
    entry = entry or ['openvino', 'int8', '1 ms']
    return {'version': cache.VERSION, 'fastest': {KEY: entry}, **more}


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\xff' * 100,
        b'[' * 50_000,
        b'{}',
        b'null',
        b' ' * (cache.MAX_BYTES + 1),
        json.dumps(document(version=2)).encode(),
        json.dumps(document(fastest=[])).encode(),
        json.dumps(document(['abacus', 'int8', ''])).encode(),
        json.dumps(document(['openvino', 'auto', ''])).encode(),
        json.dumps(document([['openvino'], 'int8', ''])).encode(),
        json.dumps(document(['openvino', 'int8', 'two\nlines'])).encode(),
        json.dumps(document(['openvino', 'int8', 7])).encode(),
        json.dumps(document(['openvino', 'int8'])).encode(),
        json.dumps(
            {'version': cache.VERSION, 'fastest': {'short': ['openvino', 'int8', '']}}
        ).encode(),
    ],
)
def test_a_file_that_is_not_ours_is_ignored_and_replaced(content: bytes, folder: Path) -> None:
    folder.mkdir()
    (folder / cache.FILE).write_bytes(content)
    assert cache.recall(KEY) == NOTHING
    assert cache.remember(KEY, FASTEST, '1 ms') == []
    assert cache.recall(KEY) == (FASTEST, '1 ms')


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists, max_leaves=6))
def test_any_entry_is_a_candidate_or_ignored(folder: Path, entry: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / cache.FILE).write_text(json.dumps(document(entry or 'x')))
    assert cache.recall(KEY) == NOTHING


def test_a_pipe_in_its_place_does_not_block(folder: Path) -> None:
    folder.mkdir()
    os.mkfifo(folder / cache.FILE)
    assert cache.recall(KEY) == NOTHING


def test_what_the_speed_depends_on_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = cache.key(int8_model(0), Runtime())
    assert cache.key(replace(int8_model(1), release=9), Runtime()) == key  # an update
    others = [
        cache.key(int8_model(side=25), Runtime()),
        cache.key(int8_model(bypass=False), Runtime()),
        cache.key(tiny_model(), Runtime()),
        cache.key(replace(int8_model(), ranges={}), Runtime()),
        cache.key(int8_model(), Runtime(threads=1)),
        cache.key(int8_model(), Runtime(precision='fp32')),
    ]
    monkeypatch.setattr(cache, '_version', lambda package: '0.1')
    others.append(cache.key(int8_model(), Runtime()))
    monkeypatch.setattr(processor, 'identity', lambda: 'another')
    others.append(cache.key(int8_model(), Runtime()))
    assert len({key, *others}) == len(others) + 1
