# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""A model file becomes a model that is verified, tested and warm, or a named error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphs import Sketch
from sqz_perception.errors import BackendFailed, LoadCancelled, ModelNotFound
from sqz_perception.inference.backend import BACKENDS, Runtime
from sqz_perception.inference.loading import load, softmax
from sqz_perception.model import file
from sqz_perception.model.network import Model, Tensor, self_test_picture
from tiny import tiny_model, with_answers

FP32 = [Runtime(name, 'fp32') for name in BACKENDS]


@pytest.mark.parametrize('runtime', [Runtime(), *FP32], ids=lambda r: f'{r.backend}-{r.precision}')
def test_the_self_test_passes_where_the_arithmetic_is_right(
    runtime: Runtime, tmp_path: Path
) -> None:
    file.write(with_answers(tiny_model()), tmp_path / 'm.sqz')
    model = load(tmp_path / 'm.sqz', runtime)
    assert model.backend.precision in ('fp32', 'bf16')  # no int8: the model has no levels
    assert model.identity == file.identity(with_answers(tiny_model()))


def test_results_are_sorted_and_cut(tmp_path: Path) -> None:
    file.write(tiny_model(bias=1.0), tmp_path / 'm.sqz')
    model = load(tmp_path / 'm.sqz', FP32[0])
    picture = self_test_picture(3, model.input)
    everything = model.classify(picture, top_k=9)
    assert sorted(r.label for r in everything) == sorted(model.labels)
    assert sum(r.score for r in everything) == pytest.approx(1)
    assert [r.score for r in everything] == sorted((r.score for r in everything), reverse=True)
    assert [model.labels[r.index] for r in everything] == [r.label for r in everything]
    assert model.classify(picture, top_k=2) == everything[:2]
    kept = model.classify(picture, top_k=9, threshold=everything[1].score)
    assert kept == everything[:2]


def test_equal_scores_come_in_the_order_of_the_classes() -> None:
    assert softmax(np.array([1.0, 1.0], np.float32)).tolist() == [0.5, 0.5]
    assert softmax(np.array([1e4, -1e4], np.float32)).tolist() == [1.0, 0.0]


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match='none.sqz'):
        load(tmp_path / 'none.sqz')


@pytest.mark.parametrize('stage', range(6))
def test_a_load_is_cancelled_between_its_stages(stage: int, tmp_path: Path) -> None:
    file.write(with_answers(tiny_model()), tmp_path / 'm.sqz')
    answers = iter([False] * stage + [True])
    with pytest.raises(LoadCancelled, match=r'm.sqz: loading was cancelled'):
        load(tmp_path / 'm.sqz', FP32[0], lambda: next(answers))


def test_a_loaded_model_knows_how_long_a_picture_takes(tmp_path: Path) -> None:
    file.write(tiny_model(), tmp_path / 'm.sqz')
    assert 0 < load(tmp_path / 'm.sqz', FP32[0]).milliseconds < 1000


def overflowing(weight: float) -> Model:
    """Return a model of finite weights whose logits are not: the products overflow."""
    model = tiny_model(dtype=np.float32)
    last = model.tensors['conv10.weight']
    large = Tensor(last.name, np.full(last.values.shape, weight, np.float32))
    return replace(model, tensors={**model.tensors, last.name: large})


@pytest.mark.parametrize('runtime', [Runtime(), *FP32], ids=lambda r: f'{r.backend}-{r.precision}')
def test_a_model_whose_logits_are_not_finite_is_not_loaded(
    runtime: Runtime, tmp_path: Path
) -> None:
    file.write(overflowing(3e38), tmp_path / 'm.sqz')
    with pytest.raises(BackendFailed, match='logits that are not finite') as caught:
        load(tmp_path / 'm.sqz', runtime)
    assert '\n' not in str(caught.value)


def test_a_frame_whose_logits_are_not_finite_is_a_named_error(tmp_path: Path) -> None:
    """The picture of the warm-up is random; this model overflows on a white one only."""
    net = Sketch(8, seed=0)
    net.conv(4, 3, 1)
    net.conv(4, 4, 8)
    tensors = {
        name: Tensor(name, np.ones(tensor.values.shape, np.float32))
        for name, tensor in net.tensors.items()
    }
    tensors['n1.weight'].values[:] = 3.4e38 / (8 * 8 * 4) / 9  # white gives 3 * 255 / 64 = 12
    file.write(replace(net.model(4), tensors=tensors), tmp_path / 'm.sqz')
    loaded = load(tmp_path / 'm.sqz', FP32[0])
    assert loaded.classify(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(BackendFailed, match='logits that are not finite'):
        loaded.classify(np.full((8, 8, 3), 255, np.uint8))


def test_a_lack_of_memory_is_a_named_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(file, 'read_identified', no_memory)
    with pytest.raises(BackendFailed, match='m.sqz: not enough memory'):
        load(tmp_path / 'm.sqz')
