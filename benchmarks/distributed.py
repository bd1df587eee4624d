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
What processes that train together exchange in a step, and what it costs: small networks and large.

Two processes of torchrun on this machine, gloo over the loopback interface. Beside 4 bytes for
each parameter stand the gradients in DistributedDataParallel's buckets and what the kernel counts
on the interface. The same step without the exchange (``no_sync``) tells its share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.replica import BATCH
from benchmarks.report import Row, summarise
from benchmarks.setting import Setting, say

NETS = ('squeezenet1_1', 'alexnet', 'resnet50')
PROCESSES = 2
STEPS = 3  # of each kind in a round
PATIENCE = 300.0  # seconds for one network
MEGA = 1e6


def measure(setting: Setting) -> Iterator[Row]:
    """Let each network train for some steps; return its rows and how the exchanges compare."""
    sent = {}
    for name in NETS:
        say(f'distributed: {name}, {PROCESSES} processes')
        found = train(setting, name)
        sent[name] = found['bucket_bytes']
        yield from rows(name, found)
    for name in NETS[1:]:
        ratio = sent[name] / sent[NETS[0]]
        yield Row('ratio', f'bytes of a step: {name} / {NETS[0]}', '', ratio)


def train(setting: Setting, name: str) -> dict[str, Any]:
    """Return what the first of the processes reports."""
    line = ('--standalone', '--nproc-per-node', str(PROCESSES), '-m', 'benchmarks.replica')
    steps = str(STEPS * setting.rounds)
    with setting.lab.running('torch.distributed.run', *line, name, steps, profile=False) as run:
        return run.result(PATIENCE)


def rows(name: str, found: dict[str, Any]) -> Iterator[Row]:
    """Yield times and bytes of one network."""
    size = found['size']
    note = f'{BATCH} pictures of {size}x{size} in each of {PROCESSES} processes, fp32'
    exchanged = summarise('distributed', f'{name}: step', 'ms', found['exchanged'], note=note)
    alone = summarise('distributed', f'{name}: without exchange', 'ms', found['alone'], note=note)
    yield exchanged
    yield alone
    share = 100 * (1 - alone.median / exchanged.median)
    yield Row('distributed', f"{name}: the exchange's share of the step", '%', share)
    note = f'{found["parameters"]:,} parameters'
    for what, count in (
        ('4 x parameters', 4 * found['parameters']),
        ('gradients in buckets', found['bucket_bytes']),
        ('sent by each process, on the wire', found['wire_bytes'] / PROCESSES),
    ):
        yield Row('distributed', f'{name}: {what}', 'MB', count / MEGA, note=note)
