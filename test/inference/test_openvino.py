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
"""OpenVINO in a process that goes on: models come and go, and Ctrl-C still ends it well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWAPPED = """
import signal, threading
import numpy as np
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import load
from sqz_perception.resources import default_model

def new():
    return load(default_model(), Runtime('openvino', 'fp32', 1))

def swap():
    global running
    running = new()

running = new()
for _ in range({here}):
    swap()
thread = threading.Thread(target=swap)
thread.start()
thread.join()
del running
signal.signal(signal.SIGINT, lambda *_: print('handled'))
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize('swaps', [0, 1, 2])
def test_a_signal_after_swaps_does_not_crash(swaps: int) -> None:
    """Each ``Core`` has a stack for signals of its own, and may leave it in use when it goes."""
    done = subprocess.run(
        [sys.executable, '-c', SWAPPED.format(here=swaps)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout.strip(), done.returncode) == ('handled', 0), done.stderr


@pytest.mark.parametrize('name', ['sqz_perception.inference.openvino', 'benchmarks.int8'])
def test_openvino_does_not_report_its_import(tmp_path: Path, name: str) -> None:
    """It does so through a package of its own; this one would end the process."""
    pytest.importorskip(name, reason='the benchmarks need what training needs')
    (tmp_path / 'openvino_telemetry.py').write_text('raise SystemExit("reported")')
    path = os.pathsep.join([str(tmp_path), *sys.path])
    code = f'import {name}, openvino.tools.ovc'
    subprocess.run(
        [sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': path}, check=True
    )
