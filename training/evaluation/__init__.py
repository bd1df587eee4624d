# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""How often a model is right, how sure it is, and how robust."""
