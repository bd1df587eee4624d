# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The workstation's side of updates over the air: keys, the signed repository, the broadcast."""
