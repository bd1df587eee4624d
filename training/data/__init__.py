# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures to train and to measure on: archives, loading, augmentation."""
