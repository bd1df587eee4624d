# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

from __future__ import annotations

from importlib.util import find_spec

from hypothesis import settings

# The workstation's side is tested where it is installed; a robot has none of it.
collect_ignore = [] if find_spec('torch') else ['training']

# Machines differ in speed and tests here do not measure it; the examples of CI are reproducible.
settings.register_profile('project', deadline=None, derandomize=True, print_blob=True)
settings.load_profile('project')
