# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files are, installed or in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = 'sqz_perception'
DEFAULT_MODEL = 'models/cifar10.sqz'


def share() -> Path:
    """Return the folder that holds config/, launch/ and models/."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / 'package.xml').is_file():
        return checkout
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(PACKAGE))
    except (ImportError, LookupError):  # no ROS, or installed by pip alone
        return Path(sys.prefix) / 'share' / PACKAGE


def default_model() -> Path:
    """Return the path of the model that comes with the package."""
    return share() / DEFAULT_MODEL
