# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What ament_pep257 of ROS 2 finds: nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('benchmarks', 'launch', 'scripts', 'sqz_perception', 'test', 'training')
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob('*.py'))

# What ament_pep257 does not check.
IGNORED = [
    'D100', 'D101', 'D102', 'D103', 'D104', 'D105', 'D106', 'D107', 'D203', 'D212', 'D404',
]  # fmt: skip


def test_docstrings_are_as_ament_pep257_wants_them() -> None:
    pydocstyle = pytest.importorskip('pydocstyle', reason='ament_pep257 stands on it')
    errors = pydocstyle.check([str(file) for file in [ROOT / 'setup.py', *FILES]], ignore=IGNORED)
    assert [str(error) for error in errors] == []
