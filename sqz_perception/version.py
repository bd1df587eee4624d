# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The version of this package, and when it was released."""

from __future__ import annotations

from datetime import datetime, timezone

VERSION = (0, 1, 0)
# No robot's clock can be right before this: it bounds how old signed documents may be.
RELEASED = datetime(2026, 11, 28, tzinfo=timezone.utc)
