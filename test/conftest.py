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
"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# Beside the package: what tests share, such as test/tiny.py, and the code of the set-up.
# pytest has the option `pythonpath` for it only from 7.0 on, and Ubuntu 22.04 has 6.2.
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ('', 'test', 'scripts')]

# Nor does pytest 6.2 enter the modules of tests into sys.modules, where dataclass looks for them.
if not hasattr(pytest, 'version_tuple'):
    make_module = importlib.util.module_from_spec

    def make_known_module(spec: ModuleSpec) -> ModuleType:
        module = make_module(spec)
        sys.modules.setdefault(spec.name, module)
        return module

    importlib.util.module_from_spec = make_known_module


def is_installed(requirement: str) -> bool:
    try:
        return bool(version(re.split(r'[\[<>=]', requirement)[0]))
    except PackageNotFoundError:
        return False


# The workstation's side is tested where all of it is installed. Of a robot, some may have torch.
TRAINING = (ROOT / 'requirements' / 'training.txt').read_text(encoding='utf-8').splitlines()
REQUIRED = [line for line in TRAINING if line and not line.startswith('#')]
collect_ignore = [] if all(map(is_installed, REQUIRED)) else ['training']

# What was fastest is measured and remembered for each run of the tests, not in the home folder.
if 'SQZ_PERCEPTION_CACHE' not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix='sqz_perception_')
    os.environ['SQZ_PERCEPTION_CACHE'] = CACHE.name

# Machines differ in speed and tests here do not measure it; the examples of CI are reproducible.
settings.register_profile('project', deadline=None, derandomize=True, print_blob=True)
settings.load_profile('project')
