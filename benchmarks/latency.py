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
From a camera's stamp to the classification received, three processes over DDS.

The camera publishes, a contender classifies, an observer receives. Contenders take turns, so that
a change of the machine's mood touches all. The first second of each turn is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import Goal, Row, summarise
from benchmarks.setting import CLASSIFIER, Setting, parameters, say

RATE = 30.0  # hertz
SLOW = 10.0  # hertz: no frame finds the one before still in work
WARM_UP = 1.0  # seconds
LINGER = 0.5  # seconds for the last classifications to arrive
RATIO = Goal(high=0.25)  # of the plain node's latency
OWN_COST = Goal(high=1.5)  # ms
MEMORY = Goal(high=300.0)  # MB


@dataclass(frozen=True)
class Contender:
    """Who has a turn. ``own``: a classifier node of ours, with diagnostics."""

    name: str
    module: str
    arguments: list[str]
    profile: bool = True
    rate: float = RATE
    own: bool = False


@dataclass
class Turns:
    """What was seen of a contender, over all its turns."""

    latency: list[float] = field(default_factory=list)  # ms
    publish: list[float] = field(default_factory=list)  # ms that the camera's publish() took
    sent: int = 0
    received: int = 0
    diagnostics: list[dict[str, str]] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        """Return one value of the diagnostics for each turn."""
        return [float(found[key]) for found in self.diagnostics if key in found]


def measure(setting: Setting) -> Iterator[Row]:
    """Give each contender its turns; return the rows on latency, own cost and memory."""
    everybody = contenders(setting)
    turns = {one.name: Turns() for one in everybody}
    for number in range(setting.rounds):
        for one in everybody:
            say(f'latency: turn {number + 1} of {setting.rounds}: {one.name}')
            take_turn(setting, one, turns[one.name])
    for one in everybody:
        yield from latency_rows(one, turns[one.name])
    yield publish_row(turns[ours(setting.large)])
    yield from ratio_rows(setting, turns)
    for one in everybody:
        if one.own and one.rate == RATE:
            yield from own_rows(one, turns[one.name])


def contenders(setting: Setting) -> list[Contender]:
    """Return ours with each model, the plain node, and what tells the shares of the time."""
    plain = ('benchmarks.plain_node', [str(setting.state)])
    large = parameters(setting.large)
    exact = parameters(setting.large, precision='fp32')
    small = [
        Contender(f'ours, {name}', CLASSIFIER, parameters(path), own=True)
        for name, path in setting.models.items()
        if path != setting.large
    ]
    return [
        Contender(ours(setting.large), CLASSIFIER, large, own=True),
        Contender('plain node, default transports', *plain, profile=False),
        Contender('plain node, our transport profile', *plain),
        Contender(f'{ours(setting.large)}, fp32', CLASSIFIER, exact, own=True),
        *small,
        Contender(f'{ours(setting.large)}, 10 Hz', CLASSIFIER, large, rate=SLOW, own=True),
        Contender('plain node, our profile, 10 Hz', *plain, rate=SLOW),
        Contender('echo, no classifier', 'benchmarks.echo_node', []),
    ]


def ours(model: Path) -> str:
    """Return the name of our contender with ``model``."""
    return f'ours, {model.stem}'


def take_turn(setting: Setting, contender: Contender, turns: Turns) -> None:
    """Run camera, contender and observer once and add what was seen to ``turns``."""
    profile, seconds = contender.profile, setting.seconds + WARM_UP
    camera_options = ('--rate', str(contender.rate), '--seconds', str(seconds))
    with ExitStack() as stack:
        run = stack.enter_context
        observer = run(setting.lab.running('benchmarks.observer', profile=profile))
        camera = run(setting.lab.running('benchmarks.camera', *camera_options, profile=profile))
        node = run(setting.lab.running(contender.module, *contender.arguments, profile=profile))
        sent = camera.result(timeout=60 + seconds)['sent']
        time.sleep(LINGER)
        turns.memory.append(node.memory())
        observer.interrupt()
        seen = observer.result()
    count(sent, dict(seen['received']), turns)
    turns.diagnostics.append(seen['diagnostics'])


def count(sent: list[tuple[int, float]], received: dict[int, int], turns: Turns) -> None:
    """Add the frames after the warm-up: stamp and ms of publish(), stamp -> when it came."""
    begin = sent[0][0] + WARM_UP * 1e9
    for stamp, publish in sent:
        if stamp < begin:
            continue
        turns.sent += 1
        turns.publish.append(publish)
        if stamp in received:
            turns.received += 1
            turns.latency.append((received[stamp] - stamp) / 1e6)


def latency_rows(contender: Contender, turns: Turns) -> Iterator[Row]:
    """Yield how long it took and how many frames were answered at all."""
    note = f'{turns.received} of {turns.sent} frames classified'
    if turns.latency:
        yield summarise('latency', contender.name, 'ms', turns.latency, note=note)
    share = 100 * turns.received / max(turns.sent, 1)
    yield Row('frames', f'{contender.name}: classified', '%', share, None, turns.sent, note=note)


def publish_row(turns: Turns) -> Row:
    """Return the part of every latency in which the camera is still publishing."""
    return summarise('latency', 'of it: publish() in the camera', 'ms', turns.publish)


def ratio_rows(setting: Setting, turns: dict[str, Turns]) -> Iterator[Row]:
    """Yield our median in parts of the plain node's, in each of the plain node's settings."""
    name = ours(setting.large)
    pairs = {
        'default transports': (name, 'plain node, default transports'),
        'our transport profile': (name, 'plain node, our transport profile'),
        'our profile, 10 Hz': (f'{name}, 10 Hz', 'plain node, our profile, 10 Hz'),
    }
    for what, (mine, plain) in pairs.items():
        if turns[mine].latency and turns[plain].latency:
            medians = [summarise('', '', '', turns[one].latency).median for one in (mine, plain)]
            share = medians[0] / medians[1]
            yield Row('ratio', f'ours / plain, {what}', '', share, goal=RATIO)


def own_rows(contender: Contender, turns: Turns) -> Iterator[Row]:
    """Yield what the node says of itself, and what Linux says of its memory."""
    for key, part, goal in (('own_cost', 'own cost', OWN_COST), ('inference', 'inference', None)):
        medians, tails = turns.values(f'{key}_p50_ms'), turns.values(f'{key}_p99_ms')
        if medians:
            median = summarise('', '', '', medians).median
            note = "from the node's diagnostics: median and worst of the turns"
            yield Row(part, contender.name, 'ms', median, max(tails), len(medians), goal, note)
    for key, what, goal in (('VmRSS', 'resident', MEMORY), ('VmHWM', 'peak', None)):
        values = [found[key] for found in turns.memory]
        split = f'anonymous {turns.memory[-1]["RssAnon"]:.0f}, shared memory '
        split += f'{turns.memory[-1]["RssShmem"]:.0f}, files {turns.memory[-1]["RssFile"]:.0f}'
        yield summarise('memory', f'{contender.name}: {what}', 'MB', values, goal, split)
