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
The fastest of the runtimes and precisions that run a model correctly on this machine.

A processor flag is not a speed, so the candidates are timed. Two take turns, so that other work on
the machine slows both; the slower one is closed before the next one is built.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqz_perception.errors import BackendError, BackendFailed, ModelError, SqzError
from sqz_perception.inference import cache
from sqz_perception.inference.backend import Backend, Candidate, Runtime, candidates
from sqz_perception.inference.checks import check_memory, checked_logits, self_test
from sqz_perception.model.network import Model, self_test_picture

RUNS = 5  # that are timed at least, but of a slow model
SLOW_RUNS = 2  # that are timed at least
SECONDS = 0.15  # for timing a slow model, or two candidates that are equally fast
HOPELESS = 1.5  # a candidate that takes so many times as long is not timed further
BUSY = 2.0  # a median of so many times the best run: other work disturbs the measurement

Proceed = Callable[[], None]  # called between the stages; may raise


@dataclass(frozen=True)
class Prepared:
    """A model that is compiled, self-tested and warm."""

    candidate: Candidate
    backend: Backend
    deviation: float  # in the self-test
    times: tuple[float, ...]  # milliseconds of one picture, for each run
    why: str = 'asked for'

    @property
    def milliseconds(self) -> float:
        """Return the median time of one picture."""
        return statistics.median(self.times)

    @property
    def best(self) -> float:
        """Return the best time of one picture, which other work on the machine disturbs least."""
        return min(self.times)


def prepare(model: Model, runtime: Runtime, proceed: Proceed = lambda: None) -> Prepared:
    """
    Return ``model`` on the fastest runtime and in the fastest precision that ``runtime`` allows.

    Raises a BackendError or a ModelError where nothing runs it correctly, and what ``proceed``
    raises.
    """
    check_memory(model)
    if 'auto' not in (runtime.backend, runtime.precision):
        candidate = Candidate(runtime.backend, runtime.precision)
        candidate.check(model)
        return _ready(candidate, model, runtime, proceed)
    key = cache.key(model, runtime)
    return _remembered(key, model, runtime, proceed) or _fastest(key, model, runtime, proceed)


def _ready(candidate: Candidate, model: Model, runtime: Runtime, proceed: Proceed) -> Prepared:
    """Build, self-test and warm up."""
    proceed()
    backend = candidate.build(model, runtime.threads)
    try:
        proceed()
        deviation = self_test(model, backend, proceed)
        proceed()
        _run(backend, model)  # the first run allocates
        proceed()
        times = _times(backend, model, proceed)
    except BaseException:
        backend.close()
        raise
    return Prepared(candidate, backend, deviation, times)


def _remembered(key: str, model: Model, runtime: Runtime, proceed: Proceed) -> Prepared | None:
    """Return the fastest at an earlier start; None where there is none or it fails now."""
    candidate, figures = cache.recall(key)
    if candidate is None or not candidate.is_one_of(runtime):
        return None
    try:
        candidate.check(model)
        ready = _ready(candidate, model, runtime, proceed)
    except (BackendError, ModelError):
        return None
    return replace(ready, why=f'the fastest at an earlier start: {figures}')


def _fastest(key: str, model: Model, runtime: Runtime, proceed: Proceed) -> Prepared:
    """Time all candidates and return the fastest."""
    found, refused = candidates(runtime, model)
    figures: dict[Candidate, float] = {}
    failed: list[SqzError] = []
    race: list[Prepared] = []  # the fastest so far and the next
    try:
        for candidate in found:
            try:
                race.append(_ready(candidate, model, runtime, proceed))
            except (BackendError, ModelError) as error:
                failed.append(error)
                continue
            if len(race) == 2:
                race = _timed(race, model, proceed)
            figures.update({ready.candidate: ready.best for ready in race})
            for slower in race[1:]:
                slower.backend.close()
            del race[1:]
    except BaseException:
        for ready in race:
            ready.backend.close()
        raise
    if not race:
        raise _joined(failed or refused)
    (best,) = race
    text = ', '.join(f'{candidate} {figures[candidate]:.3g} ms' for candidate in figures)
    why = [f'the fastest of {text}', *dict.fromkeys(map(_short, [*refused, *failed]))]
    if best.milliseconds > BUSY * best.best:
        why.append('not remembered: the machine was busy')
    elif not failed:  # a failure may belong to these weights and not to the network
        why += cache.remember(key, best.candidate, text)
    return replace(best, why='; '.join(why))


def _timed(race: list[Prepared], model: Model, proceed: Proceed) -> list[Prepared]:
    """Return the two of ``race``, timed in turns, the faster one first."""
    end = time.perf_counter() + SECONDS
    for count in itertools.count(1):
        proceed()
        race = [replace(r, times=(*r.times, _run(r.backend, model))) for r in race]
        fast, slow = sorted(race, key=lambda ready: ready.best)
        hopeless = count >= RUNS and slow.best > HOPELESS * fast.best
        if hopeless or (count >= SLOW_RUNS and time.perf_counter() > end):
            break
    return [fast, slow]


def _times(backend: Backend, model: Model, proceed: Proceed) -> tuple[float, ...]:
    end = time.perf_counter() + SECONDS
    times: list[float] = []
    while len(times) < SLOW_RUNS or (len(times) < RUNS and time.perf_counter() < end):
        times.append(_run(backend, model))
        proceed()
    return tuple(times)


def _run(backend: Backend, model: Model) -> float:
    """Return the milliseconds of one picture. Raises BackendFailed where the logits are wrong."""
    picture = self_test_picture(0, model.input)
    start = time.perf_counter()
    checked_logits(backend, picture, len(model.labels))
    return 1e3 * (time.perf_counter() - start)


def _short(error: SqzError) -> str:
    """Return what was found, without the remedy."""
    return str(error).partition(';')[0]


def _joined(errors: Sequence[SqzError]) -> SqzError:
    """Return one error for all, of their class if they share it, with the first one's remedy."""
    kinds = {type(error) for error in errors}
    kind = kinds.pop() if len(kinds) == 1 else BackendFailed
    found = '; '.join(dict.fromkeys(map(_short, errors)))
    return kind(found + ''.join(str(errors[0]).partition(';')[1:]))
