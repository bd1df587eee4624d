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
"""Mask the passwords in what is printed, above all those of a study's database."""

from __future__ import annotations

import re
from urllib.parse import unquote

MASK = '***'
USER = re.compile(r'([:/]/*[^\s:/@]*:)\S*@')  # a password may hold @ and / itself
OPTION = re.compile(r'(?i)((?:password|passwd|pwd)=)[^&\s\'"]+')


def masked(text: str) -> str:
    """
    Return ``text`` without the passwords of URLs in it.

    >>> masked('sqlite:///a.db, postgresql://me:s3cret@host/trials and host/?password=s3cret')
    'sqlite:///a.db, postgresql://me:***@host/trials and host/?password=***'
    """
    return OPTION.sub(rf'\g<1>{MASK}', USER.sub(rf'\g<1>{MASK}@', text))


def without(text: str, url: str) -> str:
    """Return ``text`` without the password of ``url``, by itself or in it, and those of others."""
    found = re.search(r'[:/]/*[^:/@]*:(.*)@', url, re.DOTALL)
    if found and found[1]:
        for secret in (found[1], unquote(found[1])):
            text = text.replace(f':{secret}@', f':{MASK}@').replace(secret, MASK)
    return masked(text)
