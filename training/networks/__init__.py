# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The SqueezeNet family, its baselines, and what each network costs."""
