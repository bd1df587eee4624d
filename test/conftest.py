# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
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

# The workstation's side is tested where all of it is installed. Of a robot, some may have torch.
TRAINING = (
    'jsonargparse', 'matplotlib', 'optuna', 'pytorch_lightning', 'torch', 'torchmetrics',
    'torchvision', 'tqdm', 'yaml',
)  # fmt: skip
collect_ignore = [] if all(map(find_spec, TRAINING)) else ['training']

# What was fastest is measured and remembered for each run of the tests, not in the home folder.
if 'SQZ_PERCEPTION_CACHE' not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix='sqz_perception_')
    os.environ['SQZ_PERCEPTION_CACHE'] = CACHE.name

# Machines differ in speed and tests here do not measure it; the examples of CI are reproducible.
settings.register_profile('project', deadline=None, derandomize=True, print_blob=True)
settings.load_profile('project')
