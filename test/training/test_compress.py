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
"""The command that compresses, on a small model and made-up pictures, as its user runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from class_pictures import noisy_picture, png
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import load
from sqz_perception.model import file
from sqz_perception.model.network import SelfTest, self_test_picture
from tiny import LABELS, tiny_model
from training import compress, evaluate

PICTURES = {
    f'{i % len(LABELS):02d}_{i}.png': png(noisy_picture((9 * i, 250 - 9 * i, 90), i, 40))
    for i in range(24)
}
ArchiveOf = Callable[[dict[str, bytes]], Path]


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file.write(tiny_model(), tmp_path / 'tiny.sqz', plain=True)
    return tmp_path / 'tiny.sqz'


def run(model_file: Path, archive: Path, *more: str) -> Path:
    """Run the command, which must succeed; return what it wrote."""
    output = model_file.with_name('small.sqz')
    assert (
        compress.main([str(model_file), '-o', str(output), '--calibration', str(archive), *more])
        == 0
    )
    return output


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must fail; return its one line."""
    assert compress.main([str(argument) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith('error: ')
    return line


def test_the_small_file_runs_in_int8_and_answers_as_before(
    model_file: Path, archive_of: ArchiveOf
) -> None:
    output = run(model_file, archive_of(PICTURES), '--trade', '1e-9', '--release', '7')
    sizes = [
        len(file.encode(replace(file.read(path), self_test=SelfTest()), plain=path == model_file))
        for path in (output, model_file)
    ]
    assert sizes[0] < 0.75 * sizes[1]
    small, large = (load(path, Runtime('onnxruntime', 'fp32', 1)) for path in (output, model_file))
    assert small.release == 7
    eight = load(output, Runtime('onnxruntime', 'int8', 1))
    for seed in range(20, 24):
        picture = self_test_picture(seed, large.input)
        wanted = large.backend.logits(picture)
        reach = np.abs(wanted).max()
        assert np.abs(small.backend.logits(picture) - wanted).max() < 0.05 * reach
        assert np.abs(eight.backend.logits(picture) - wanted).max() < 0.15 * reach


def test_the_same_inputs_give_the_same_bytes(model_file: Path, archive_of: ArchiveOf) -> None:
    archive = archive_of(PICTURES)
    first = run(model_file, archive).read_bytes()
    assert run(model_file, archive).read_bytes() == first


def test_a_larger_trade_gives_a_smaller_file(model_file: Path, archive_of: ArchiveOf) -> None:
    archive = archive_of(PICTURES)
    sizes = [
        run(model_file, archive, '--trade', t).stat().st_size for t in ('1e-8', '1e-5', '1e-3')
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < sizes[0] - 200


def test_a_size_is_kept_and_used(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    size = run(model_file, archive_of(PICTURES), '--target-bytes', '1200').stat().st_size
    assert 1150 < size <= 1200
    assert f'tried: {size:,} bytes' in capsys.readouterr().out.splitlines()


def test_a_size_that_can_not_be_is_refused(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    output = model_file.with_name('small.sqz')
    archive = archive_of(PICTURES)
    line = refusal(
        capsys, model_file, '-o', output, '--calibration', archive, '--target-bytes', 200
    )
    assert '200 bytes can not be reached' in line
    assert not output.exists()


def test_a_loss_is_kept(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(PICTURES)
    strict = run(model_file, archive, '--max-loss', '0.5')
    size = strict.stat().st_size
    assert size < model_file.stat().st_size
    assert f'tried: 0.00 points lost in {size:,} bytes' in capsys.readouterr().out.splitlines()


def test_a_loss_needs_classes(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of({f'a{name}': data for name, data in PICTURES.items()})
    arguments = (model_file, '-o', 'out.sqz', '--calibration', archive, '--max-loss', 1)
    assert 'its class is unknown' in refusal(capsys, *arguments)


def test_pictures_that_are_too_few_or_broken_are_refused(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(dict(list(PICTURES.items())[:3]))
    line = refusal(capsys, model_file, '-o', 'out.sqz', '--calibration', archive)
    assert '3 pictures' in line
    archive = archive_of(PICTURES)
    for few in (0, 5):
        arguments = (model_file, '-o', 'out.sqz', '--calibration', archive, '--pictures', few)
        assert f'{few} pictures' in refusal(capsys, *arguments)
    archive = archive_of({**PICTURES, '00_bad.png': b'no picture'})
    line = refusal(capsys, model_file, '-o', 'out.sqz', '--calibration', archive)
    assert '00_bad.png' in line


def test_a_release_that_can_not_be_is_refused_at_once(
    model_file: Path, capsys: pytest.CaptureFixture[str], archive_of: ArchiveOf
) -> None:
    arguments = ('-o', 'out.sqz', '--calibration', archive_of(PICTURES), '--release', 0)
    assert 'release' in refusal(capsys, model_file, *arguments)


def test_a_folder_that_is_not_there_is_refused_at_once(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, model_file, '-o', 'no/out.sqz', '--calibration', 'no.zip')
    assert 'there is no folder no' in line


@pytest.mark.parametrize(
    'wrong',
    [
        ['--trade', '0'],
        ['--trade', 'much'],
        ['--max-loss', '-1'],
        ['--target-bytes', '0'],
        ['--target-bytes', '9', '--max-loss', '1'],
        ['--pictures', 'all'],
    ],
)
def test_bad_arguments_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        compress.main(['in.sqz', '-o', 'out.sqz', '--calibration', 'x.zip', *wrong])
    assert caught.value.code == 2


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        compress.main(['--help'])
    assert caught.value.code == 0
    assert '--target-bytes 350000' in capsys.readouterr().out


def test_the_plot_is_a_picture(model_file: Path, archive_of: ArchiveOf, tmp_path: Path) -> None:
    run(model_file, archive_of(PICTURES), '--plot', str(tmp_path / 'layers.png'))
    assert (tmp_path / 'layers.png').read_bytes()[:4] == b'\x89PNG'


def test_evaluation_compares_with_the_original(
    model_file: Path, archive_of: ArchiveOf, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(PICTURES)
    output = run(model_file, archive, '--trade', '1e-7')
    capsys.readouterr()
    runtime = ('--backend', 'onnxruntime', '--precision', 'fp32')
    arguments = (str(output), '--against', str(model_file), '--images', str(archive), *runtime)
    assert evaluate.main(list(arguments)) == 0
    figures = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert 0 < float(figures['divergence']) < 0.01
    assert float(figures['same_top1']) > 90
    assert figures['top1_original'] == figures['top1']
