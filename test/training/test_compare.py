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
"""The command that sets models beside the one that they were made from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from class_pictures import noisy_picture, png
from sqz_perception.model import file
from tiny import LABELS, int8_model, tiny_model
from training import compare

PICTURES = {
    f'{i % len(LABELS):02d}_{i}.png': png(noisy_picture((20 * i, 99, 50), i, 40))
    for i in range(10)
}
FP32 = ('--backend', 'onnxruntime', '--precision', 'fp32')
ArchiveOf = Callable[[dict[str, bytes]], Path]


def test_each_model_is_a_row_and_a_point(
    tmp_path: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    original, same, other = (tmp_path / name for name in ('in.sqz', 'same.sqz', 'other.sqz'))
    file.write(tiny_model(), original, plain=True)
    file.write(tiny_model(), same)
    file.write(int8_model(seed=1), other)
    table, picture = tmp_path / 'table.csv', tmp_path / 'plot.png'
    arguments = [original, same, other, '--images', archive_of(PICTURES), *FP32]
    arguments += ['--csv', table, '--plot', picture]
    assert compare.main([str(argument) for argument in arguments]) == 0
    with table.open(newline='') as lines:
        first, second, third = csv.DictReader(lines)
    assert [row['file'] for row in (first, second, third)] == ['in.sqz', 'same.sqz', 'other.sqz']
    assert int(second['bytes']) == same.stat().st_size < int(first['bytes'])
    assert float(first['divergence']) == float(second['divergence']) == 0
    assert float(second['same_top1']) == 100
    assert float(third['divergence']) > 0.01
    assert picture.read_bytes()[:4] == b'\x89PNG'
    assert 'other.sqz' in capsys.readouterr().out


def test_models_of_other_classes_are_refused(
    tmp_path: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    original, other = tmp_path / 'in.sqz', tmp_path / 'other.sqz'
    file.write(tiny_model(), original)
    file.write(tiny_model(labels=('a', 'b', 'c', 'd', 'e')), other)
    arguments = [str(original), str(other), '--images', str(archive_of(PICTURES)), *FP32]
    assert compare.main(arguments) == 1
    assert 'other labels' in capsys.readouterr().err
