# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Many trainings that differ in a few values: sweeps, and the experiments of the paper."""
