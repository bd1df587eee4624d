# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The workstation's side: train, import, evaluate and export models. Not installed on a robot."""
