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
"""How slow a new model may be: what a parameter says, or what cameras and model in use allow."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable

from sqz_perception.errors import SwapRefused
from sqz_perception.inference.classifier import LoadedModel

SLACK = 2.0  # times the model in use: a measurement beside the frames is noisy
FASTEST = 10.0  # milliseconds: a time per frame that is always accepted, unless a limit is set
RECENT = 31  # frames, whose times show how fast the model in use is now


class TimeLimit:
    """
    The longest accepted time per frame.

    ``parameter`` returns it in seconds, 0 for no limit, or a negative value: then it is derived.
    ``frame_rate`` returns how many frames per second the cameras deliver together, 0 if unknown.
    """

    def __init__(self, parameter: Callable[[], float], frame_rate: Callable[[], float]) -> None:
        self._parameter, self._frame_rate = parameter, frame_rate
        self._recent: deque[float] = deque(maxlen=RECENT)  # milliseconds of a frame

    def on_result(self, milliseconds: float) -> None:
        """Record the time of a frame with the model in use."""
        self._recent.append(milliseconds)

    def forget(self) -> None:
        """Forget the times: another model is in use."""
        self._recent.clear()

    def milliseconds(self, current: LoadedModel | None) -> float:
        """Return the limit for a model that replaces ``current``; infinite for no limit."""
        return self._limit(current)[0]

    def check(self, model: LoadedModel, current: LoadedModel | None) -> None:
        """Raise SwapRefused where ``model`` is too slow to replace ``current``."""
        limit, why = self._limit(current)
        if model.milliseconds > limit:
            raise SwapRefused(
                f'{model.path}: takes {model.milliseconds:.1f} ms per frame, the limit is '
                f'{limit:.1f} ms ({why}); raise max_inference_time to accept it, 0.0 is no limit'
            )

    def warning(self, model: LoadedModel) -> str | None:
        """Return what is to be logged of a first model that exceeds the parameter, or None."""
        limit = self._parameter()
        if not 0 < limit < model.milliseconds / 1e3:
            return None
        return (
            f'{model} takes {model.milliseconds:.1f} ms per frame, max_inference_time is '
            f'{limit:g} s; use a smaller model or more threads'
        )

    def _limit(self, current: LoadedModel | None) -> tuple[float, str]:
        """Return the limit in milliseconds, and what it follows from."""
        limit = self._parameter()
        if limit >= 0:
            return 1e3 * limit or math.inf, 'max_inference_time'
        rate = self._frame_rate()
        if current is None or rate == 0:
            return math.inf, 'no cameras'
        now = max(current.milliseconds, statistics.median(tuple(self._recent) or (0.0,)))
        return max(
            (1e3 / rate, f'the cameras send {rate:.1f} frames per second'),
            (SLACK * now, f'the model in use takes {now:.1f} ms'),
            (FASTEST, 'a fast model is always accepted'),
        )
