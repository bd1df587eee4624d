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
One of the processes that train together for the part ``distributed``, started by torchrun.

``torchrun --nproc-per-node 2 -m benchmarks.replica NETWORK STEPS``. The first prints a line of
JSON: the milliseconds of each step with and without exchange, and the bytes of one exchange.
"""

# Without annotations from the future: torch wants those of a hook to be types.
import json
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.futures import Future
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from training.networks.architecture import PRESETS
from training.networks.baselines import BASELINES
from training.networks.models import build

BATCH = 8  # pictures of each process
WARM_UP = 3  # steps; the first arranges the buckets
INTERFACE = 'lo'


class Replica:
    """A network in training, on pictures of noise: they take as long as any."""

    def __init__(self, name: str) -> None:
        known = PRESETS.get(name) or BASELINES[name]
        self.size, self.bucket_bytes = known.size, 0
        torch.manual_seed(0)
        net = build(name).to(memory_format=torch.channels_last)
        self.parameters = sum(p.numel() for p in net.parameters())
        self.net = DistributedDataParallel(net)
        self.net.register_comm_hook(None, self._count)
        self.images = torch.rand(BATCH, 3, self.size, self.size)
        self.images = self.images.to(memory_format=torch.channels_last)
        self.targets = torch.arange(BATCH)
        # A rate of zero does all the work and leaves the processes' weights alike.
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.0, momentum=0.9)

    def step(self, exchange: bool) -> float:
        """Return how many milliseconds a step took until the last process was through."""
        distributed.barrier()
        begun = time.perf_counter()
        self.optimizer.zero_grad()
        with nullcontext() if exchange else self.net.no_sync():
            cross_entropy(self.net(self.images), self.targets).backward()
        self.optimizer.step()
        took = torch.tensor((time.perf_counter() - begun) * 1e3)
        distributed.all_reduce(took, distributed.ReduceOp.MAX)
        return float(took)

    def _count(
        self, group: distributed.ProcessGroup | None, bucket: distributed.GradBucket
    ) -> Future[torch.Tensor]:
        self.bucket_bytes += bucket.buffer().nbytes
        return allreduce_hook(group, bucket)


def measure(name: str, steps: int) -> dict[str, object]:
    """Take ``steps`` steps with exchange and as many without, in turns."""
    replica = Replica(name)
    for _ in range(WARM_UP):
        replica.step(exchange=True)
    replica.bucket_bytes, wire = 0, 0
    exchanged, alone = [], []
    for _ in range(steps):
        before = sent_bytes()
        exchanged.append(replica.step(exchange=True))
        wire += sent_bytes() - before
        alone.append(replica.step(exchange=False))
    return {
        'parameters': replica.parameters,
        'size': replica.size,
        'exchanged': exchanged,
        'alone': alone,
        'bucket_bytes': replica.bucket_bytes / steps,
        'wire_bytes': wire / steps,
    }


def sent_bytes() -> int:
    """Return what the kernel has counted as sent on the interface, by all processes."""
    return int(Path(f'/sys/class/net/{INTERFACE}/statistics/tx_bytes').read_text())


def main() -> None:
    """Run the command."""
    os.environ['GLOO_SOCKET_IFNAME'] = INTERFACE
    distributed.init_process_group('gloo')
    torch.set_num_threads(1)
    found = measure(sys.argv[1], int(sys.argv[2]))
    if distributed.get_rank() == 0:
        print(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == '__main__':
    main()
