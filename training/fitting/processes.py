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
"""Several processes that train one network together, as torchrun starts them."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

from torch.distributed import DistError, TCPStore

PATIENCE = timedelta(seconds=10)


def started() -> bool:
    """Tell whether torchrun started this process."""
    return 'TORCHELASTIC_RUN_ID' in os.environ


def settings() -> dict[str, Any]:
    """Return the trainer's settings for the processes that torchrun has started, if it has."""
    if not started():
        return {}
    here, all_ = int(os.environ['LOCAL_WORLD_SIZE']), int(os.environ['WORLD_SIZE'])
    return {'strategy': 'ddp', 'devices': here, 'num_nodes': all_ // here}


def report(line: str) -> None:
    """Print ``line`` on stderr, once where several processes have the same to say."""
    if not started():
        print(line, file=sys.stderr)
        return
    try:
        # The store of torchrun's own process, by which the processes find each other.
        store = TCPStore(
            os.environ['MASTER_ADDR'],
            int(os.environ['MASTER_PORT']),
            is_master=False,
            timeout=PATIENCE,
        )
        key = f'{os.environ.get("TORCHELASTIC_RESTART_COUNT")}: {line}'
        if store.add(key, 1) > 1:
            store.wait([f'said {key}'])  # once one process has ended, torchrun ends all others
            return
        print(line, file=sys.stderr, flush=True)
        store.set(f'said {key}', '')
    except (KeyError, DistError):
        print(line, file=sys.stderr)


def lost(error: RuntimeError) -> bool:
    """Tell whether ``error`` says that another process has ended."""
    return started() and (isinstance(error, DistError) or 'gloo' in str(error))
