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
"""Any message of a ROS type, for property tests."""

from __future__ import annotations

import importlib
import re
from typing import Any

from hypothesis import strategies as st

# Words that mean something to a node: a request made of noise alone never gets far.
WORDS = (
    'model', 'threshold', 'top_k', 'max_rate', 'cameras', 'use_sim_time', 'autostart',
    'start_type_description_service', 'classifier', 'configure', 'activate', 'deactivate',
    'cleanup', 'transition_success', 'on_activate_success', '~nosuchuser/a.sqz', '/dev/null', '',
)  # fmt: skip
INTEGER = re.compile(r'(u?)int(\d+)')


def load_type(name: str) -> Any:
    """Return the class that ``name`` stands for, such as std_srvs/srv/Trigger."""
    package, *folder, kind = name.split('/')
    return getattr(importlib.import_module(f'{package}.{folder[0] if folder else "msg"}'), kind)


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of the class ``kind``."""
    fields = kind.get_fields_and_field_types()
    return st.builds(kind, **{name: _field(type_) for name, type_ in fields.items()})


def _field(name: str) -> st.SearchStrategy[Any]:
    sequence = re.fullmatch(r'sequence<([\w/]+)(?:, \d+)?>', name)
    if sequence:
        return st.lists(_field(sequence[1]), max_size=3)
    integer = INTEGER.fullmatch(name)
    if integer:
        bits, unsigned = int(integer[2]), bool(integer[1])
        low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return st.integers(low, min(high, 12)) | st.integers(low, high)
    if name == 'octet':
        return st.binary(min_size=1, max_size=1)
    if name in ('float', 'double'):
        return st.floats(width=32)
    if name == 'boolean':
        return st.booleans()
    if name == 'string':
        characters = st.characters(blacklist_categories=['Cs'], blacklist_characters='\0')
        return st.sampled_from(WORDS) | st.text(characters, max_size=20)
    return any_of(load_type(name))
