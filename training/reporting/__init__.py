# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""What commands share: options, tables, plots."""
