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
"""What the runtimes do not report about the CPU."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from sqz_perception.errors import BackendUnavailable
from sqz_perception.model.int8 import check_int8, largest_level
from sqz_perception.model.network import Model

CPUINFO = Path('/proc/cpuinfo')
SAFE_LEVEL = 64  # two products of at most 64 and 255 fit into 16 bits
# The lines of /proc/cpuinfo that tell processors apart; others change from start to start.
IDENTIFYING = (
    *('vendor_id', 'cpu family', 'model', 'model name', 'stepping', 'flags'),  # x86
    *('Features', 'CPU implementer', 'CPU architecture', 'CPU variant', 'CPU part'),  # ARM
    'CPU revision',
)


def check_precision(model: Model, precision: str, name: str, here: tuple[str, ...]) -> None:
    """
    Raise BackendUnavailable or ModelFloatOnly where the runtime ``name`` cannot run ``model``.

    ``here``: the precisions that it runs on this processor.
    """
    if precision not in here:
        raise BackendUnavailable(
            f'{name} does not run {precision} on this processor; set precision to one of '
            f'{", ".join(("auto", *here))}'
        )
    if precision != 'int8':
        return
    check_int8(model)
    if not adds_int8_exactly(largest_level(model)):
        raise BackendUnavailable(
            f'{name} does not run int8 exactly: this processor has no VNNI, without which levels '
            f'above {SAFE_LEVEL} give wrong sums; set precision to auto'
        )


def adds_int8_exactly(largest_level: int) -> bool:
    """
    Return whether this processor gets sums of int8 products right, for weights up to that level.

    An x86 without VNNI adds them in pairs of 16 bits, which saturate. With levels up to 127
    SqueezeNet v1.0 lost five points of top-1 to that; with levels up to 64 every bit is right.
    """
    if largest_level <= SAFE_LEVEL or platform.machine() not in ('x86_64', 'AMD64', 'i686'):
        return True
    return 'vnni' in _cpuinfo()  # avx_vnni, avx512_vnni


def identity() -> str:
    """Return a text that differs between processors, and between numbers of usable cores."""
    first = _cpuinfo().split('\n\n')[0].splitlines()
    kept = [line for line in first if line.partition(':')[0].strip() in IDENTIFYING]
    text = '\n'.join([platform.machine(), str(len(os.sched_getaffinity(0))), *kept])
    return hashlib.sha256(text.encode()).hexdigest()


def _cpuinfo() -> str:
    try:
        return CPUINFO.read_text(encoding='utf-8')
    except OSError:
        return ''
