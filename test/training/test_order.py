# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The order of pictures and the shares of processes that train together."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from training.order import Share, ShuffleByEpoch, in_batches  # noqa: E402

ALONE = Share()


def shuffled(count: int, seed: int, epoch: int, share: Share = ALONE) -> list[int]:
    sampler = ShuffleByEpoch(torch.arange(count), seed, share)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert shuffled(100, 1, 5) == shuffled(100, 1, 5)
    assert shuffled(100, 1, 5) != shuffled(100, 1, 6) != shuffled(100, 2, 6)
    assert sorted(shuffled(100, 3, 0)) == list(range(100))


@given(st.integers(1, 400), st.integers(1, 5), st.integers(1, 16), st.integers(0, 9))
def test_processes_see_together_what_one_alone_would(
    count: int, processes: int, own_batch: int, epoch: int
) -> None:
    shares = [shuffled(count, 7, epoch, Share(rank, processes)) for rank in range(processes)]
    alone = shuffled(count, 7, epoch)
    assert len({len(share) for share in shares}) == 1
    whole = own_batch * processes
    for step in range(count // whole):
        seen = [i for share in shares for i in share[step * own_batch :][:own_batch]]
        assert sorted(seen) == sorted(alone[step * whole :][:whole])


@given(st.integers(1, 400), st.integers(1, 5), st.integers(2, 64))
def test_each_picture_is_validated_once_and_no_process_waits_for_another(
    count: int, processes: int, most: int
) -> None:
    shares = [in_batches(count, most, Share(rank, processes)) for rank in range(processes)]
    every = [i for share in shares for batch in share for i in batch]
    assert sorted(every) == list(range(count))
    assert len({len(share) for share in shares}) == 1
    sizes = [len(batch) for share in shares for batch in share]
    assert max(sizes) <= most
    assert count < processes or min(sizes) > 0
