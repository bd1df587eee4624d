# Copyright 2026 the sqz_perception authors
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.
#
# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files are, installed or in a checkout."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = 'sqz_perception'
CAMERA_TOPIC = '/camera/image_raw'  # what launch files subscribe to by default
DEFAULT_MODEL = 'models/cifar10.sqz'
TRANSPORT_PROFILE = 'config/fastdds.xml'
# Where Fast DDS looks for a profile: the first from Kilted on, the second until Jazzy.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')


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


def transport_profile(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make Fast DDS carry whole frames; none where the user set one."""
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, str(share() / TRANSPORT_PROFILE))
