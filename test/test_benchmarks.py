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
"""The benchmark's arithmetic and its report. What it measures is not for a test."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import latency, machine, report, swap
from benchmarks.__main__ import PARTS, main, parser
from benchmarks.latency import Contender, Turns
from benchmarks.processes import Lab
from benchmarks.report import Goal, Row, number, summarise, table
from benchmarks.setting import Setting
from class_pictures import color_members, write_zip
from sqz_perception.model import file
from tiny import tiny_model

ROOT = Path(__file__).resolve().parents[1]
SECOND = 10**9  # ns
MS = 10**6  # ns


def test_summarise_gives_the_middle_and_the_tail() -> None:
    row = summarise('latency', 'x', 'ms', [float(value) for value in range(1, 201)])
    assert (row.median, row.p99, row.samples) == (100.0, 198.0, 200)


def test_a_single_value_has_no_tail() -> None:
    row = summarise('start', 'x', 's', [2.0])
    assert (row.median, row.p99) == (2.0, None)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match='latency: ours: nothing was measured'):
        summarise('latency', 'ours', 'ms', [])


@pytest.mark.parametrize(
    ('goal', 'value', 'met', 'text'),
    [
        (Goal(high=2.5), 2.5, True, '<= 2.5'),
        (Goal(high=2.5), 2.51, False, '<= 2.5'),
        (Goal(low=-0.5), -0.6, False, '>= -0.5'),
        (Goal(62.4, 63.2), 62.8, True, '62.4 to 63.2'),
        (Goal(62.4, 63.2), 62.2, False, '62.4 to 63.2'),
    ],
)
def test_goals(goal: Goal, value: float, met: bool, text: str) -> None:
    assert Row('part', 'what', 'ms', value, goal=goal).met is met
    assert str(goal) == text


@pytest.mark.parametrize(
    ('value', 'text'),
    [(1234.5, '1234'), (62.84, '62.8'), (8.256, '8.26'), (0.01234, '0.012'), (0.0, '0.000')],
)
def test_numbers_have_about_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_table_lines_up_and_says_what_is_missed() -> None:
    rows = [
        Row('start', 'shipped', 's', 1.5, 1.7, 5, Goal(high=2.5)),
        Row('memory', 'resident', 'MB', 312.0, goal=Goal(high=300.0)),
        Row('runtime', 'openvino', 'ms', 4.2),
    ]
    lines = table(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split('|')[-2].strip() == 'yes'
    assert lines[3].split('|')[-2].strip() == 'NO'
    assert lines[4].split('|')[-2].strip() == ''


def test_json_holds_the_machine_and_every_row(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'figures.json'
    about = machine.describe('python -m benchmarks')
    report.write(path, about, [Row('memory', 'resident', 'MB', 312.0, goal=Goal(high=300.0))])
    found = json.loads(path.read_text(encoding='utf-8'))
    assert found['command'] == 'python -m benchmarks'
    assert found['machine']['cores'] >= 1
    assert found['versions']['numpy']
    (row,) = found['rows']
    assert (row['median'], row['goal'], row['met']) == (312.0, '<= 300', False)


def test_frames_of_the_warm_up_are_not_counted_and_lost_ones_are() -> None:
    sent = [(index * SECOND // 2, 1.0) for index in range(6)]  # stamps at 0, 0.5, ... 2.5 s
    received = {stamp: stamp + 8 * MS for stamp, _ in sent if stamp != 2 * SECOND}
    turns = Turns()
    latency.count(sent, received, turns)
    assert (turns.sent, turns.received) == (4, 3)
    assert turns.latency == [8.0] * 3


def test_a_contender_that_answers_nothing_has_a_share_and_no_latency() -> None:
    rows = list(latency.latency_rows(Contender('mute', 'module', []), Turns(sent=30)))
    assert [(row.part, row.median) for row in rows] == [('frames', 0.0)]


def test_swap_tells_gaps_in_swaps_from_those_outside() -> None:
    stamps = [index * 30 * MS for index in range(1, 11)]
    times = {stamp: stamp + 5 * MS for stamp in stamps}
    times[120 * MS] = 165 * MS  # 70 ms after the one before
    del times[150 * MS]
    seen = {'received': list(times.items()), 'swaps': [[100 * MS, 170 * MS]]}
    rows = {row.what: row for row in swap.rows('net', stamps, seen)}
    assert rows['net: update_model'].median == 70.0
    assert rows['net: longest gap in a swap'].median == 70.0
    assert rows['net: gap without a swap'].median == 30.0
    lost = rows['net: frames lost in 1 swaps']
    assert (lost.median, lost.samples, lost.met) == (1.0, 2, False)


def test_help_shows_every_part_and_an_example() -> None:
    text = parser().format_help()
    assert all(f'  {name} ' in text for name in PARTS)
    assert 'make bench ARGS=' in text


@pytest.mark.parametrize(
    'arguments', [['--only', 'nothing'], ['--seconds', '0'], ['--rounds', '-1']]
)
def test_wrong_arguments_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert 'error: argument' in capsys.readouterr().err


def test_command_starts_without_ros_or_torch() -> None:
    code = 'import sys; sys.modules.update(rclpy=None, torch=None); import benchmarks.__main__'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_int8_is_judged_by_its_distance_from_fp32() -> None:
    int8 = pytest.importorskip('benchmarks.int8', reason='needs what the workstation has')
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32))
    assert int8.top(logits, np.array([0, 1]), 1) == 50
    assert int8.top(logits, np.array([0, 1]), 2) == 100
    assert int8.divergence(logits, logits + 7) == pytest.approx(0, abs=1e-6)
    swapped = logits[:, [1, 0, 2]]
    expected = (0.25 * math.log(2) + 0.1 * math.log(2)) / 2
    assert int8.divergence(logits, swapped) == pytest.approx(expected, abs=1e-6)


def test_int8_is_left_out_of_a_model_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = pytest.importorskip('benchmarks.int8', reason='needs what the workstation has')
    file.write(tiny_model(), tmp_path / 'm.sqz')
    lab = Lab(tmp_path, 0)
    setting = Setting(tmp_path, lab, 1.0, 1, given=tmp_path / 'm.sqz', images=None)
    assert list(int8.measure(setting)) == []
    assert 'tiny has none; give one of training.compress' in capsys.readouterr().err


def test_an_exchange_is_set_beside_the_parameters() -> None:
    distributed = pytest.importorskip('benchmarks.distributed', reason='needs the workstation')
    found = {
        'parameters': 1_000_000,
        'size': 224,
        'exchanged': [10.0, 8.0, 12.0],
        'alone': [6.0, 5.0, 7.0],
        'bucket_bytes': 4e6,
        'wire_bytes': 8.2e6,
    }
    rows = {row.what: row for row in distributed.rows('net', found)}
    assert rows["net: the exchange's share of the step"].median == pytest.approx(40)
    assert rows['net: 4 x parameters'].median == rows['net: gradients in buckets'].median == 4
    assert rows['net: sent by each process, on the wire'].median == pytest.approx(4.1)


def test_bytes_are_counted_on_the_interface() -> None:
    replica = pytest.importorskip('benchmarks.replica', reason='needs the workstation')
    before = replica.sent_bytes()
    with socket.socket(type=socket.SOCK_DGRAM) as to, socket.socket(type=socket.SOCK_DGRAM) as by:
        to.bind(('127.0.0.1', 0))
        by.sendto(bytes(5000), to.getsockname())
        assert len(to.recv(6000)) == 5000
    assert replica.sent_bytes() - before >= 5000


@pytest.mark.parametrize('given', [True, False])
def test_both_loops_train_on_the_same_files(tmp_path: Path, given: bool) -> None:
    loop = pytest.importorskip('benchmarks.training_loop', reason='needs the workstation')
    images = write_zip(tmp_path / 'x.zip', color_members(5, 2)) if given else None
    setting = Setting(tmp_path, Lab(tmp_path, 1), 1, 1, None, images)
    count = loop.write_pictures(setting, tmp_path / 'pictures')
    source = loop.PictureData(str(tmp_path / 'pictures')).source
    peer = loop.Peer(tmp_path / 'pictures' / 'train')
    assert count == len(source.split('train')) == len(peer.loader.dataset)
    assert source.labels == tuple(peer.loader.dataset.classes)
    assert len(source.labels) == (3 if given else loop.ARCHITECTURE.classes)
