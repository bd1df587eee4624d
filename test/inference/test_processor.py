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
"""Which processors add int8 products exactly, and what identifies one."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sqz_perception.inference import processor


def test_who_gets_int8_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / 'cpuinfo'
    monkeypatch.setattr(processor, 'CPUINFO', cpuinfo)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    assert not processor.adds_int8_exactly(65)  # it can't be known
    assert processor.adds_int8_exactly(64)
    cpuinfo.write_text('flags : avx2 avx_vnni\n')
    assert processor.adds_int8_exactly(127)
    cpuinfo.write_text('flags : avx2 avx512f\n')
    assert not processor.adds_int8_exactly(127)
    monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
    assert processor.adds_int8_exactly(127)


def test_processors_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / 'cpuinfo'
    monkeypatch.setattr(processor, 'CPUINFO', cpuinfo)
    found = {processor.identity()}
    for model in ('one', 'two'):
        for clock in ('1000', '2000'):
            cpuinfo.write_text(f'model name : {model}\ncpu MHz : {clock}\n\nmodel name : x\n')
            found.add(processor.identity())
    assert len(found) == 3
