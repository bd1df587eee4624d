# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and published weights <-> model files; a model file as a torch module."""
