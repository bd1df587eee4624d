# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Training: the Lightning module, initial weights, optimiser, distillation, callbacks."""
