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
"""Run a node without installing: ``python -m sqz_perception.nodes classifier_node --ros-args``."""

from __future__ import annotations

import sys

from sqz_perception.nodes import entry

NODES = {node.__name__: node for node in (entry.classifier_node, entry.image_source_node)}


if __name__ == '__main__':
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ''
    if name not in NODES:
        sys.exit(f'error: name a node: {" or ".join(NODES)}')
    sys.exit(NODES[name]())
