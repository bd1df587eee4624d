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
"""ament_copyright and ament_pep257 of ROS 2 find nothing here."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('benchmarks', 'launch', 'scripts', 'sqz_perception', 'test', 'training')
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob('*.py'))
FILES.append(ROOT / 'setup.py')

# The form that ament_copyright of Humble and later accepts, in the fewest lines.
HEADER = """\
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
"""

# What ament_pep257 does not check.
IGNORED = [
    'D100', 'D101', 'D102', 'D103', 'D104', 'D105', 'D106', 'D107', 'D203', 'D212', 'D404',
]  # fmt: skip


def test_every_file_has_the_header() -> None:
    others = [file for file in FILES if not file.read_text(encoding='utf-8').startswith(HEADER)]
    assert [str(file.relative_to(ROOT)) for file in others] == [], (
        'copy the header of another file'
    )


def test_ament_copyright_knows_the_header() -> None:
    main = pytest.importorskip('ament_copyright.main', reason='comes with a ROS distribution').main
    files = [str(file) for file in FILES]
    assert main([*files, str(ROOT / 'LICENSE'), str(ROOT / 'CONTRIBUTING.md')]) == 0


def test_docstrings_are_as_ament_pep257_wants_them() -> None:
    pydocstyle = pytest.importorskip('pydocstyle', reason='ament_pep257 stands on it')
    errors = pydocstyle.check([str(file) for file in FILES], ignore=IGNORED)
    assert [str(error) for error in errors] == []
