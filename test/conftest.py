# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from hypothesis import settings

# Beside the package: what tests share, such as test/tiny.py, and the code of the set-up.
# pytest has the option `pythonpath` for it only from 7.0 on, and Ubuntu 22.04 has 6.2.
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ('', 'test', 'scripts')]

# The workstation's side is tested where all of it is installed. Of a robot, some may have torch.
TRAINING = (
    'jsonargparse', 'matplotlib', 'optuna', 'pytorch_lightning', 'torch', 'torchmetrics',
    'torchvision', 'tqdm', 'yaml',
)  # fmt: skip
collect_ignore = [] if all(map(find_spec, TRAINING)) else ['training']

# Machines differ in speed and tests here do not measure it; the examples of CI are reproducible.
settings.register_profile('project', deadline=None, derandomize=True, print_blob=True)
settings.load_profile('project')
