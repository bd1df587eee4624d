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
"""Deep Compression: what is pruned, which values are shared, what tuning gains, what it takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from class_pictures import color_members, write_zip  # noqa: E402
from sqz_perception.inference.backend import Runtime  # noqa: E402
from sqz_perception.inference.classifier import load  # noqa: E402
from sqz_perception.model import file  # noqa: E402
from sqz_perception.model.network import Model  # noqa: E402
from tiny import tiny_model  # noqa: E402
from training import weight_sharing  # noqa: E402
from training.compression.weight_sharing import (  # noqa: E402
    BITS,
    deep_compress,
    densities,
    k_means,
    nearest,
    prune,
    share,
)


def weights_of(model: Model) -> dict[str, np.ndarray]:
    return {node.weight: model.tensors[node.weight].dense() for node in model.convolutions}


def values(count: int = 5000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).laplace(0, 0.1, count).astype(np.float32)


def error(centroids: np.ndarray, of: np.ndarray) -> float:
    return float(np.square(centroids[nearest(centroids, of)] - of).mean())


@pytest.mark.parametrize('density', [0.001, 0.33, 0.5, 1.0])
def test_pruning_keeps_as_many_as_asked_and_the_largest(density: float) -> None:
    weight = np.round(values(1000), 2).reshape(10, 100)  # many are equal
    kept = prune(weight, density)
    assert kept.sum() == round(1000 * density)
    assert np.abs(weight[kept]).min() >= np.abs(weight[~kept]).max(initial=0)


def test_an_overall_density_takes_the_same_share_of_what_each_layer_has() -> None:
    model = deep_compress(tiny_model(), {'conv1.weight': 0.5, 'conv10.weight': 0.25}, 8)
    total = sum(w.size for w in weights_of(model).values())
    left = {name: np.count_nonzero(w) for name, w in weights_of(model).items()}
    overall = 0.5 * sum(left.values()) / total
    pruned = weights_of(deep_compress(model, densities(model, overall), 8))
    for name, w in pruned.items():
        assert np.count_nonzero(w) == pytest.approx(left[name] / 2, abs=0.5)
        assert not w[weights_of(model)[name] == 0].any()
    assert weights_of(deep_compress(model, densities(model, 1.0), 8)).keys() == left.keys()
    assert {n: round(d, 9) for n, d in densities(model, 1.0).items()} == {
        name: round(left[name] / w.size, 9) for name, w in weights_of(model).items()
    }


@pytest.mark.parametrize('count', [3, 15, 63, 255])
def test_k_means_is_at_rest_and_better_than_where_it_began(count: int) -> None:
    found = values()
    centroids = k_means(found, count)
    begun = np.linspace(found.min(), found.max(), count)
    assert error(centroids, found) < error(begun, found)
    assert len(centroids) == count
    assert (np.diff(centroids) > 0).all()
    nearest_to = nearest(centroids, found)
    assert (
        nearest_to == np.abs(found[:, None].astype(np.float64) - centroids).argmin(axis=1)
    ).all()
    for index in np.unique(nearest_to):
        assert centroids[index] == pytest.approx(found[nearest_to == index].mean(), abs=2e-4)


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=60),
    st.sampled_from(BITS),
)
def test_zeros_stay_zero_and_no_more_values_than_bits(weights: list[float], bits: int) -> None:
    weight = np.array(weights, np.float32).reshape(1, -1, 1, 1)
    shared = share('w', weight, bits)
    assert shared.values.dtype == np.uint8
    assert shared.values.shape == weight.shape
    assert shared.codebook is not None
    assert len(shared.codebook) <= 2**bits
    assert not shared.dense()[weight == 0].any()
    different = len(np.unique(weight))
    if different <= 2**bits:
        assert (shared.dense() == weight).all()
    again = share('w', shared.dense(), bits)
    assert (again.dense() == shared.dense()).all()


def test_an_even_layer_uses_every_value_it_may_have() -> None:
    weight = np.linspace(-1, 1, 9000, dtype=np.float32)
    weight[::3] = 0
    for bits in (5, 6, 8):
        codebook = share('w', weight, bits).codebook
        assert codebook is not None
        assert len(codebook) == 2**bits
        assert np.count_nonzero(codebook == 0) == 1


def test_a_shared_model_comes_back_from_its_file(tmp_path: Path) -> None:
    model = deep_compress(tiny_model(), {'conv10.weight': 0.5}, 3)
    file.write(model, tmp_path / 'm.sqz')
    back = file.read(tmp_path / 'm.sqz')
    for name, w in weights_of(model).items():
        assert (weights_of(back)[name] == w).all()
        assert len(np.unique(w)) <= 8
    assert np.count_nonzero(weights_of(back)['conv10.weight']) == 20


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_zip(tmp_path / 'pictures.zip', color_members(8, 1))


def command(tmp_path: Path, pictures: Path, *more: str) -> int:
    file.write(replace(tiny_model(), release=3), tmp_path / 'in.sqz')
    line = [str(tmp_path / 'in.sqz'), '-o', str(tmp_path / 'out.sqz')]
    return weight_sharing.main([*line, '--calibration', str(pictures), *more])


def test_the_command_writes_a_model_that_runs_and_says_what_it_takes(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture
) -> None:
    assert command(tmp_path, pictures, '--bits', '3', '--density', '0.5', '--epochs', '2') == 0
    model = load(tmp_path / 'out.sqz', Runtime())  # passes its self-test
    assert model.release == 3
    read = file.read(tmp_path / 'out.sqz')
    kept = sum(np.count_nonzero(w) for w in weights_of(read).values())
    total = sum(w.size for w in weights_of(read).values())
    assert kept == pytest.approx(total / 2, abs=len(read.convolutions))
    assert all(len(np.unique(w)) <= 8 for w in weights_of(read).values())
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1].startswith(f'{100 * kept / total:.1f} % of the weights are not zero')
    assert shown[-1].endswith(' bytes')


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--density', '0'], 'not above 0'),
        (['--density', 'nan'], 'not above 0'),
        (['--bits', '9'], 'invalid choice'),
        (['--epochs', '-1'], 'is negative'),
        (['--calibration', '/nowhere.zip'], 'does not exist'),
    ],
)
def test_wrong_values_are_told_in_a_line(
    tmp_path: Path,
    pictures: Path,
    capsys: pytest.CaptureFixture,
    more: list[str],
    message: str,
) -> None:
    try:
        code = command(tmp_path, pictures, *more)
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    assert code in (1, 2)
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_help_shows_examples(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        weight_sharing.main(['--help'])
    assert 'examples:\n  python -m training.weight_sharing' in capsys.readouterr().out
