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
"""Open the database of a study; report its failures in one line and without passwords."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import optuna
import sqlalchemy

from training.errors import SweepInvalid
from training.reporting.masking import without

HEARTBEAT = 10  # seconds between two signs of life of a running trial
GRACE = 60  # seconds without one, after which it counts as dead
PATIENCE = 60  # seconds that SQLite waits for another process
LONGEST = 300  # characters of a reason
AWAY = (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError)  # for a moment


def connect(url: str) -> optuna.storages.RDBStorage:
    """Open the database and create Optuna's tables where they are missing."""
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
    warnings.filterwarnings('ignore', 'Heartbeat of storage')  # the engine sends its own
    timeout = {'connect_args': {'timeout': PATIENCE}} if url.startswith('sqlite') else {}
    open_it = partial(
        optuna.storages.RDBStorage,
        url.replace('{', '{{').replace('}', '}}'),  # Optuna formats it
        {'pool_pre_ping': True, **timeout},
        heartbeat_interval=HEARTBEAT,
        grace_period=GRACE,
    )
    for _ in range(3):
        with suppress(sqlalchemy.exc.DatabaseError):  # others may create the tables just now
            return open_it()
        time.sleep(random.random())
    return open_it()


@contextmanager
def reported(url: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise SweepInvalid, in one line, for what the database and ``errors`` fail with."""
    try:
        yield
    except (optuna.exceptions.OptunaError, *AWAY, *errors) as error:
        cause = str(error.__cause__ or error).split('(Background on')[0]  # the driver's own
        reason = ' '.join(without(cause, url).split())[:LONGEST] or type(error).__name__
        raise SweepInvalid(
            f'{without(url, url)} can not be used ({reason}); repair it, or choose another '
            '--storage or --output'
        ) from None
