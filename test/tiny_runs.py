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
"""Runs of training.train that take seconds, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

# A command line, and the exit codes that it may end with -> what training.train refuses it with.
Refusal = Callable[..., str]

RECIPES = Path(__file__).parents[1] / 'training' / 'recipes'
TINY = {
    'trainer.accelerator': 'cpu',
    'trainer.precision': '32-true',
    'trainer.enable_model_summary': 'false',
    'data.batch_size': '16',
    'model.architecture.base_e': '16',
    'model.architecture.incr_e': '0',
    'model.architecture.fires': '2',
    'model.optimizer': 'sgd',
    'model.learning_rate': '0.05',
    'model.momentum': '0.9',
}


def arguments(data: Path, out: Path, epochs: int, **more: str) -> list[str]:
    """Return a command line: the shipped recipe, with a network and steps for a test."""
    values = {
        **TINY,
        'data.path': str(data),
        'trainer.default_root_dir': str(out),
        'trainer.max_epochs': str(epochs),
        **{key.replace('__', '.'): value for key, value in more.items()},
    }
    recipe = ['--config', str(RECIPES / 'cifar10.yaml')]
    return recipe + [part for key, value in values.items() for part in (f'--{key}', value)]
