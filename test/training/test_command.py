# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands share."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.command import replacing


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
