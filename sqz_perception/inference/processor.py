# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What the processor can do that no runtime tells."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path('/proc/cpuinfo')
SAFE_LEVEL = 64  # two products of at most 64 and 255 fit into 16 bits


def adds_int8_exactly(largest_level: int) -> bool:
    """
    Return whether this processor gets sums of int8 products right, for weights up to that level.

    An x86 without VNNI adds them in pairs of 16 bits, which saturate. With levels up to 127
    SqueezeNet v1.0 lost five points of top-1 to that; with levels up to 64 every bit is right.
    """
    if largest_level <= SAFE_LEVEL or platform.machine() not in ('x86_64', 'AMD64', 'i686'):
        return True
    try:
        return 'vnni' in CPUINFO.read_text(encoding='utf-8')  # avx_vnni, avx512_vnni
    except OSError:
        return False
