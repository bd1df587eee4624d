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
"""
The classifier node, with loads that take as long as a test wants.

While the file that SQZ_TEST_GATE names exists, a load waits and can't be interrupted. With the
text "MemoryError" in it, a load raises that.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from sqz_perception.inference import loading
from sqz_perception.nodes import classifier_node, loader

GATE = Path(os.environ['SQZ_TEST_GATE'])


def gated(*args: Any) -> loading.LoadedModel:
    while GATE.exists():
        if GATE.read_text() == 'MemoryError':
            raise MemoryError('cannot allocate 8 GiB')
        time.sleep(0.01)
    return loading.load(*args)


loader.load = gated

if __name__ == '__main__':
    sys.exit(classifier_node.main())
