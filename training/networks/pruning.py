# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Which weights stay when a layer is pruned by magnitude."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def prune(weight: NDArray, density: float) -> NDArray[np.bool_]:
    """Return which of ``weight`` are kept: the largest, round(density * size) of them."""
    order = np.argsort(-np.abs(weight), axis=None, kind='stable')
    kept = np.zeros(weight.size, bool)
    kept[order[: round(density * weight.size)]] = True
    return kept.reshape(weight.shape)
