# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The workstation's side: train, import, evaluate and export models. Not installed on a robot."""

from __future__ import annotations

import sys
from types import TracebackType


def _say_nothing_of_ctrl_c(
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


# As `python -m training.…` a command takes seconds to bring in its libraries, and only then is
# there anybody to catch Ctrl-C (command.run). Python looks for the command in here, under this
# name, before it begins.
if sys.argv[:1] == ['-m']:
    sys.excepthook = _say_nothing_of_ctrl_c
