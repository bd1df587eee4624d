# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Model updates over the air: what may be installed, how it arrives, where it is kept."""
