# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed image classification for ROS 2: see README.md."""
