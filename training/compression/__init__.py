# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Small models without training: layer rounding, activation ranges, weight sharing."""
