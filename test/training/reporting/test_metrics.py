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
"""What a run has written down of its epochs, also of a run that was resumed."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import DataError
from training.reporting.metrics import epochs

HEADER = 'epoch,lr-SGD/pg1,step,train/loss,val/loss,val/top1\n'


def write(path: Path, first: int, last: int, loss: float) -> None:
    """Write the metrics of epochs ``first`` to ``last`` as Lightning does."""
    rows = (
        f',{0.1 * (5 - e)},{e},,,\n{e},,{e},,{loss},0.5\n{e},,{e},{loss},,\n'
        for e in range(first, last + 1)
    )
    path.write_text(HEADER + ''.join(rows))


def test_an_epoch_has_the_rate_that_it_began_with(tmp_path: Path) -> None:
    write(tmp_path / 'metrics.csv', 0, 1, loss=2.0)
    first, second = epochs(tmp_path / 'metrics.csv')
    assert first == {
        'epoch': 0,
        'step': 0,
        'lr-SGD/pg1': 0.5,
        'train/loss': 2.0,
        'val/loss': 2.0,
        'val/top1': 0.5,
    }
    assert second['lr-SGD/pg1'] == pytest.approx(0.4)


def test_a_resumed_run_is_whole_and_another_one_before_it_left_out(tmp_path: Path) -> None:
    write(tmp_path / 'metrics.1.csv', 0, 9, loss=9.0)  # another run
    write(tmp_path / 'metrics.2.csv', 0, 3, loss=1.0)
    write(tmp_path / 'metrics.3.csv', 3, 4, loss=2.0)
    write(tmp_path / 'metrics.csv', 4, 5, loss=3.0)
    rows = epochs(tmp_path / 'metrics.csv')
    assert [row['epoch'] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row['val/loss'] for row in rows] == [1, 1, 1, 2, 3, 3]


def test_a_run_that_had_nothing_left_to_do_is_read_from_what_it_set_aside(tmp_path: Path) -> None:
    write(tmp_path / 'metrics.9.csv', 0, 0, loss=9.0)
    write(tmp_path / 'metrics.10.csv', 0, 1, loss=1.0)
    assert [row['val/loss'] for row in epochs(tmp_path / 'metrics.csv')] == [1, 1]


def test_no_run_has_no_epochs(tmp_path: Path) -> None:
    assert epochs(tmp_path / 'metrics.csv') == []


@pytest.mark.parametrize('text', ['a,b\n1,2\n', 'epoch,val/top1\n0,high\n', 'epoch,x\n1,2,3\n'])
def test_what_is_no_metrics_file_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / 'metrics.csv').write_text(text)
    with pytest.raises(DataError, match='is no metrics.csv'):
        epochs(tmp_path / 'metrics.csv')
