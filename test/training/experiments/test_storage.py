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
"""Databases that can not be used are refused in one line, and no message has a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip('optuna', reason='sweeps need optuna, which make test installs')

from hypothesis import given
from hypothesis import strategies as st

from training.errors import SweepInvalid
from training.experiments.engine import Study
from training.reporting.masking import masked, without


@pytest.mark.parametrize(
    'url',
    [
        'sqlite:////nowhere/study.db',
        'sqlite:///{}/text.db',
        'nonsense',
        'nonsense://sweeps:hunter2@host/study',
        'postgresql//sweeps:hunter2@host/study',
        'postgresql:/sweeps:hun/ter2@host/study',
        'postgresql+none://sweeps:hunter2@host/study',
        'postgresql://sweeps:hunter2@host:port/study',
        'sqlite://sweeps:hunter2@host/study',
        'mysql+pymysql://sweeps:hun{{ter2@127.0.0.1:1/study?password=hunter2',
    ],
)
def test_what_is_no_database_is_refused_in_one_line(tmp_path: Path, url: str) -> None:
    (tmp_path / 'text.db').write_text('no database ' * 100)
    with pytest.raises(SweepInvalid, match='can not be used .*; repair it') as raised:
        Study(tmp_path / 'study', [], {}, url.format(tmp_path))
    assert '\n' not in str(raised.value)
    assert 'ter2' not in str(raised.value)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4))
def test_no_password_is_left_in_a_message(password: str) -> None:
    for secret in (password, quote(password, safe='')):
        url = f'postgresql://sweeps:{secret}@host/study'
        assert f':{secret}@' not in without(f'error at {url} of host', url)
        assert f':{secret}@' not in masked(f'unrecognized arguments: --storge={url}')
    assert password not in without(f'refused "{password}"', url).replace('refused "***"', '')
