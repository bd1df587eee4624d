# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the nodes as a robot runs them: ``python -m benchmarks``, explained in its --help."""
