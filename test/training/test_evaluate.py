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
"""Evaluation: whose class is what, and the figures that come out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('tqdm', reason='training needs tqdm, which make test installs')

from class_pictures import noisy_picture, png
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import LoadedModel, load
from sqz_perception.model import file
from tiny import LABELS, tiny_model
from training import evaluate
from training.data.archive import Archive
from training.errors import DataError
from training.evaluation.outcome import Outcome, by_class, divergence, truth
from training.evaluation.outcome import evaluate as measured

WINNER = 50.0  # added to the first label's logit, so that it is the answer to every picture
MODELS = Path(__file__).resolve().parents[2] / 'models'
PICTURES = {f'{i:03d}.png': png(noisy_picture((20 * i, 99, 50), i, 40)) for i in range(8)}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    file.write(tiny_model(bias=WINNER), tmp_path / 'tiny.sqz')
    return tmp_path / 'tiny.sqz'


@pytest.fixture
def model(model_file: Path) -> LoadedModel:
    return load(model_file, Runtime('onnxruntime', 'fp32', 1))


def in_folders(*folders: str) -> dict[str, bytes]:
    """Return the pictures dealt out to ``folders`` in turn."""
    return {
        f'{folders[i % len(folders)]}/{name}': data
        for i, (name, data) in enumerate(PICTURES.items())
    }


def test_a_folder_is_a_label_whatever_its_case() -> None:
    labels = ['great white shark', 'Dog', 'cat']
    assert truth(['a/Cat/1.png', 'a/DOG/9.png', 'great_white_shark/x.png'], labels) == [2, 1, 0]


def test_the_exact_name_of_a_label_comes_first() -> None:
    labels = ['Polish', 'polish', 'train', 'caf\u00e9', 'Straße']
    names = ['val/polish/1.png', 'val/Polish/1.png', 'val/train/1.png', 'cafe\u0301/1.png']
    assert truth([*names, 'STRASSE/1.png'], labels) == [1, 0, 2, 3, 4]
    with pytest.raises(DataError, match='1 of 2 folders are no label of the model: POLISH;'):
        truth(['POLISH/1.png', 'train/1.png'], labels)


def test_pictures_may_lie_deeper_than_their_class() -> None:
    names = ['set/val/cat/monday/1.png', 'val/dog/cat/1.png', 'photos/cat/2/1.png']
    assert truth(names, ['cat', 'dog']) == [0, 1, 0]


def test_a_number_is_a_class_where_there_are_no_folders() -> None:
    assert truth(['0000_x.jpg', '2_y.jpg', '01.png'], ['a', 'b', 'c']) == [0, 2, 1]


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    original = np.array([[0.0, 0.0]], np.float32)
    other = np.array([[np.log(3), 0.0]], np.float32)
    assert divergence(original, original) == 0
    assert divergence(original, other) == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(2))


def test_one_folder_around_numbered_pictures_says_nothing() -> None:
    assert truth(['photos/0000_x.jpg', 'photos/2_y.jpg'], ['a', 'b', 'c']) == [0, 2]


def test_the_first_of_two_equal_labels_counts() -> None:
    assert truth(['crane/1.jpg'], ['bird', 'crane', 'crane']) == [1]


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['cat/1.jpg', 'cow/1.jpg', 'hen/1.jpg'], '2 of 3 folders .*: cow, hen; its labels are'),
        (['3_x.jpg'], 'there is no class 3; the model has 3'),
        (['x.jpg'], 'its class is unknown'),
        (['photos/x.jpg'], 'its class is unknown'),
    ],
)
def test_a_picture_without_a_class_is_named(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        truth(names, ['cat', 'dog', 'bird'])


def test_figures_count_what_the_model_says(
    model: LoadedModel, archive_of: Callable[[dict[str, bytes]], Path]
) -> None:
    archive = Archive(archive_of(in_folders(LABELS[0], LABELS[1], LABELS[2], LABELS[3])))
    outcome = measured(model, archive)
    assert (outcome.top(1), outcome.top(5)) == (25.0, 100.0)
    assert outcome.confusion(5)[:, 0].tolist() == [2, 2, 2, 2, 0]
    rows = by_class(outcome, LABELS)
    assert rows[LABELS[0]] == {'images': 2, 'top1': 100.0, 'taken_for': None}
    assert rows[LABELS[2]] == {'images': 2, 'top1': 0.0, 'taken_for': LABELS[0]}


def test_val_is_taken_where_there_is_train_and_val(
    model: LoadedModel, archive_of: Callable[[dict[str, bytes]], Path]
) -> None:
    members = in_folders(f'train/{LABELS[1]}', f'val/{LABELS[0]}')
    outcome = measured(model, Archive(archive_of(members)))
    assert (len(outcome.truth), outcome.top(1)) == (4, 100.0)


def test_a_limit_takes_pictures_of_all_classes(
    model: LoadedModel, archive_of: Callable[[dict[str, bytes]], Path]
) -> None:
    archive = Archive(archive_of(in_folders(*LABELS[:4])))
    outcome = measured(model, archive, limit=4)
    assert sorted(outcome.truth) == [0, 1, 2, 3]


def test_top_five_of_fewer_classes_is_all() -> None:
    outcome = Outcome(np.array([0, 1]), np.array([[1, 0], [1, 0]]), np.ones(2), np.zeros((2, 2)))
    assert (outcome.top(1), outcome.top(5)) == (50.0, 100.0)


def test_command_prints_one_line_of_json(
    model_file: Path,
    archive_of: Callable[[dict[str, bytes]], Path],
    capsys: pytest.CaptureFixture,
) -> None:
    images = str(archive_of(in_folders(LABELS[0], LABELS[1])))
    line = [str(model_file), '--images', images, '--json', '--backend', 'onnxruntime']
    assert evaluate.main(line) == 0
    shown = capsys.readouterr().out
    assert shown.count('\n') == 1
    figures = json.loads(shown)
    assert (figures['top1'], figures['top5'], figures['images']) == (50.0, 100.0, 8)
    assert (figures['score_mean'], figures['calibration_error']) == (1.0, 0.5)
    assert figures['model'] == 'tiny'
    assert figures['ms_mean'] > 0


def test_command_prints_a_table_for_people(
    model_file: Path,
    archive_of: Callable[[dict[str, bytes]], Path],
    capsys: pytest.CaptureFixture,
) -> None:
    images = str(archive_of(in_folders(LABELS[0], LABELS[1])))
    assert evaluate.main([str(model_file), '--images', images, '--by-class']) == 0
    shown = capsys.readouterr().out
    assert 'top1              50.0' in shown
    assert LABELS[1] in shown


@pytest.mark.parametrize('what', ['confusion', 'reliability'])
def test_command_draws(
    model_file: Path, archive_of: Callable[[dict[str, bytes]], Path], tmp_path: Path, what: str
) -> None:
    pytest.importorskip('matplotlib')
    images = str(archive_of(in_folders(LABELS[0], LABELS[1])))
    line = [str(model_file), '--images', images, f'--{what}']
    assert evaluate.main([*line, str(tmp_path / 'drawn.png')]) == 0
    assert cv2.imread(str(tmp_path / 'drawn.png')) is not None
    assert evaluate.main([*line, str(tmp_path / 'nowhere' / 'drawn.png')]) == 1


@pytest.mark.parametrize(
    ('members', 'message'),
    [
        ({'0.png': b'broken'}, '0.png: '),
        ({'readme.txt': b''}, 'holds no pictures'),
        ({'7.png': PICTURES['000.png']}, 'there is no class 7'),
    ],
)
def test_command_says_in_one_line_what_is_wrong(
    model_file: Path,
    archive_of: Callable[[dict[str, bytes]], Path],
    capsys: pytest.CaptureFixture,
    members: dict[str, bytes],
    message: str,
) -> None:
    assert evaluate.main([str(model_file), '--images', str(archive_of(members))]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert message in error


def test_a_missing_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / '0.png').write_bytes(PICTURES['000.png'])
    line = [str(tmp_path / 'missing.sqz'), '--images', str(tmp_path)]
    assert evaluate.main(line) == 1
    assert 'missing.sqz' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'precision', 'most', 'least'),
    [
        ('uncompressed/cifar10.sqz', 'fp32', 1_000_000, 92.0),
        ('cifar10.sqz', 'int8', 160_000, 91.3),  # the card says 91.6; runtimes round differently
    ],
)
def test_the_models_here_are_what_their_card_says(
    name: str, precision: str, most: int, least: float, shared: Callable[[str], Path]
) -> None:
    path = MODELS / name
    outcome = measured(load(path, Runtime('auto', precision, 2)), Archive(shared('cifar10.zip')))
    assert path.stat().st_size <= most
    assert outcome.top(1) >= least
