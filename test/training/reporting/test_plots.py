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
"""The plots that the commands share: what is drawn, where, and that a PNG comes out."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('matplotlib', reason='plots need matplotlib, which make test installs')

from training.reporting import plots
from training.reporting.plots import Point

POINTS = [
    Point('a', 1e5, 80.0, group='one'),
    Point('b', 2e5, 85.0, spread=0.5, group='one'),
    Point('c', 2e5, 84.0, group='two'),
    Point('d', 4e5, 83.0, group='two'),
    Point('e', 8e5, 90.0, spread=1.0, group='two'),
]


def assert_png(figure: Any, path: Path) -> None:
    """Fail unless ``path`` is a picture of the figure's size with something in it."""
    picture = cv2.imread(str(path))
    width, height = (figure.get_size_inches() * figure.dpi).round().astype(int)
    assert picture.shape == (height, width, 3)
    assert picture.std() > 5


def extents(figure: Any, texts: Any) -> list[Any]:
    return [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]


@pytest.fixture
def metrics(curves: None, tmp_path: Path) -> Path:
    """Return the metrics of a run of three epochs."""
    rows = (
        f',{0.3 - 0.1 * e},{0.3 - 0.1 * e},,,,\n{e},,,,,{1 - 0.2 * e},{0.5 + 0.1 * e}\n'
        f'{e},,,{2 - 0.5 * e},{0.4 + 0.1 * e},,\n'
        for e in range(3)
    )
    header = 'epoch,lr-SGD/pg1,lr-SGD/pg2,train/loss,train/top1,val/loss,val/top1\n'
    (tmp_path / 'metrics.csv').write_text(header + ''.join(rows))
    return tmp_path / 'metrics.csv'


def test_curves_show_each_epoch(metrics: Path, tmp_path: Path) -> None:
    figure = plots.curves(metrics, tmp_path / 'curves.png')
    assert_png(figure, tmp_path / 'curves.png')
    loss, top1, rate = figure.axes
    train, val = (line.get_xydata().T for line in top1.lines)
    np.testing.assert_allclose(train, [[1, 2, 3], [40, 50, 60]])
    np.testing.assert_allclose(val, [[1, 2, 3], [50, 60, 70]])
    np.testing.assert_allclose(loss.lines[0].get_ydata(), [2, 1.5, 1])
    assert len(rate.lines) == 1  # the other one is the same
    np.testing.assert_allclose(rate.lines[0].get_xydata().T, [[0, 1, 2], [0.3, 0.2, 0.1]])


@pytest.mark.usefixtures('curves')
def test_pictures_are_shown_under_their_titles(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (11, 12, 16, 3), np.uint8)
    titles = [f'class {i}\nand another one of a long name' for i in range(11)]
    figure = plots.pictures(images, titles, tmp_path / 'pictures.png')
    assert_png(figure, tmp_path / 'pictures.png')
    for axes, image, title in zip(figure.axes, images, titles, strict=False):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
        first, second = axes.get_title().splitlines()
        assert first == title.splitlines()[0]
        assert second.startswith('and another')
        assert len(second) <= 16
    assert sum(bool(axes.images) for axes in figure.axes) == 11
    boxes = extents(figure, [axes.title for axes in figure.axes[:11]])
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_rates_that_differ_are_all_shown(metrics: Path, tmp_path: Path) -> None:
    metrics.write_text(metrics.read_text().replace('0.3,0.3', '0.3,0.2'))
    figure = plots.curves(metrics, tmp_path / 'curves.png')
    assert [line.get_label() for line in figure.axes[2].lines] == ['SGD/pg1', 'SGD/pg2']


def test_the_front_holds_what_nothing_smaller_beats() -> None:
    assert [point.label for point in plots.front(POINTS)] == ['a', 'b', 'e']


def test_size_against_accuracy_has_all_points_labels_and_spreads(tmp_path: Path) -> None:
    figure = plots.size_against_accuracy(POINTS, tmp_path / 'size.png')
    assert_png(figure, tmp_path / 'size.png')
    (axes,) = figure.axes
    assert axes.get_xscale() == 'log'
    drawn = [container.lines[0].get_xydata().tolist() for container in axes.containers]
    assert drawn == [[[1e5, 80], [2e5, 85]], [[2e5, 84], [4e5, 83], [8e5, 90]]]
    bars = axes.containers[0].lines[2][0].get_segments()
    assert [bar[:, 1].tolist() for bar in bars if len(bar)] == [[84.5, 85.5]]
    assert sorted(text.get_text() for text in axes.texts) == ['a', 'b', 'c', 'd', 'e']
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(legend) == ['Pareto front', 'one', 'two']
    ticks = [text.get_text() for text in axes.get_xticklabels()]
    assert {'100k', '200k', '500k'} <= set(ticks)


def test_labels_do_not_cover_one_another(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    crowd = [
        Point(f'squeeze 0.{i}', size, accuracy)
        for i, (size, accuracy) in enumerate(
            zip(random.uniform(1e5, 2e5, 16), random.uniform(80, 85, 16), strict=True)
        )
    ]
    figure = plots.size_against_accuracy(crowd, tmp_path / 'size.png')
    boxes = extents(figure, figure.axes[0].texts)
    assert len(boxes) == 16
    assert sum(one.overlaps(other) for one, other in combinations(boxes, 2)) == 0


def test_of_very_many_points_those_of_the_front_have_labels(tmp_path: Path) -> None:
    many = [Point(str(i), 1e5 + i, 80 - 0.1 * i) for i in range(1, 100)]
    figure = plots.size_against_accuracy([*many, Point('best', 9e5, 90)], tmp_path / 'size.png')
    assert [text.get_text() for text in figure.axes[0].texts] == ['1', 'best']


def test_a_single_point_is_a_plot(tmp_path: Path) -> None:
    figure = plots.size_against_accuracy([Point('one', 1e6, 50)], tmp_path / 'size.png')
    assert_png(figure, tmp_path / 'size.png')


def test_confusion_of_few_classes_is_written_in_shares(tmp_path: Path) -> None:
    matrix = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]])
    figure = plots.confusion(matrix, ('cat', 'dog', 'bird'), tmp_path / 'confusion.png')
    assert_png(figure, tmp_path / 'confusion.png')
    axes = figure.axes[0]
    written = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert written == {(0, 0): '75', (0, 1): '25', (2, 0): '<1', (2, 2): '100'}
    assert [text.get_text() for text in axes.get_yticklabels()] == ['cat', 'dog', 'bird']
    assert axes.get_title() == '1,004 pictures, top-1 99.80 %'


@pytest.mark.parametrize(('classes', 'named'), [(30, True), (200, False)])
def test_confusion_of_many_classes_is_colours(tmp_path: Path, classes: int, named: bool) -> None:
    matrix = 50 * np.eye(classes, dtype=np.int64)
    matrix[0, 1] = 1
    labels = [f'class {i}' for i in range(classes)]
    figure = plots.confusion(matrix, labels, tmp_path / 'confusion.png')
    assert_png(figure, tmp_path / 'confusion.png')
    axes = figure.axes[0]
    assert not axes.texts
    assert ('class 7' in [text.get_text() for text in axes.get_yticklabels()]) is named
    image = axes.images[0]
    assert image.norm.vmin == pytest.approx(100 / 51)
    assert image.get_array()[0, 1] == pytest.approx(100 / 51)


def test_a_confusion_without_pictures_is_blank(tmp_path: Path) -> None:
    plots.confusion(np.zeros((30, 30), np.int64), ['x'] * 30, tmp_path / 'confusion.png')
    assert cv2.imread(str(tmp_path / 'confusion.png')) is not None


def test_reliability_has_a_bar_for_each_score(tmp_path: Path) -> None:
    scores = np.array([0.3, 0.31, 0.99, 1.0, 0.98, 0.97])
    right = np.array([True, False, True, True, True, False])
    figure = plots.reliability(scores, right, tmp_path / 'reliability.png')
    assert_png(figure, tmp_path / 'reliability.png')
    shares, counts = figure.axes
    assert [bar.get_height() for bar in shares.patches] == [50, 75]
    assert [bar.get_height() for bar in counts.patches] == [2, 4]
    for axes in (shares, counts):
        assert [bar.get_x() for bar in axes.patches] == pytest.approx([4 / 15, 14 / 15])
    assert 'calibration error' in shares.get_title()
