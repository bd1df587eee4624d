# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Real runtimes on a real, small model: the same answers from each, and none in silence wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sqz_perception.errors import (
    BackendFailed,
    BackendUnavailable,
    ModelNotFound,
    SelfTestFailed,
    SwapRefused,
)
from sqz_perception.inference.backend import BACKENDS, Runtime, choose
from sqz_perception.inference.classifier import Classifier, build, load, self_test, softmax
from sqz_perception.model import file
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import Model, SelfTest, Tensor, self_test_picture
from tiny import tiny_model

FP32 = [Runtime(name, 'fp32') for name in BACKENDS]


def reference(model: Model, picture: np.ndarray) -> np.ndarray:
    """Compute the tiny model's logits in float64 with loops that leave no room for doubt."""

    def conv(name: str, x: np.ndarray, stride: int = 1, pad: int = 0) -> np.ndarray:
        weight = model.tensors[f'{name}.weight'].dense().astype(np.float64)
        bias = model.tensors[f'{name}.bias'].dense().astype(np.float64)
        x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        kernel = weight.shape[2]
        rows = (x.shape[1] - kernel) // stride + 1
        columns = (x.shape[2] - kernel) // stride + 1
        out = np.empty((len(weight), rows, columns))
        for r in range(rows):
            for c in range(columns):
                patch = x[:, r * stride : r * stride + kernel, c * stride : c * stride + kernel]
                out[:, r, c] = np.tensordot(weight, patch, 3) + bias
        return out

    def pool(x: np.ndarray) -> np.ndarray:
        side = -(-(x.shape[1] - 3) // 2) + 1
        return np.array(
            [
                [x[:, 2 * r : 2 * r + 3, 2 * c : 2 * c + 3].max(axis=(1, 2)) for c in range(side)]
                for r in range(side)
            ]
        ).transpose(2, 0, 1)

    x = picture.astype(np.float64).transpose(2, 0, 1)
    if model.input.color == 'rgb':
        x = x[::-1]
    mean, scale = (np.reshape(v, (3, 1, 1)) for v in (model.input.mean, model.input.scale))
    pool1 = pool(np.maximum(conv('conv1', (x - mean) * scale, stride=2), 0))
    squeeze = conv('squeeze', pool1)
    expand = np.concatenate([conv('expand1x1', squeeze), conv('expand3x3', squeeze, pad=1)])
    return conv('conv10', np.maximum(expand + pool1, 0)).mean(axis=(1, 2))


def with_answers(model: Model) -> Model:
    """Return the model with a self-test whose answers are right."""
    classes = tuple(range(len(model.labels)))
    seeds = (1, 2)
    logits = tuple(
        tuple(float(v) for v in reference(model, self_test_picture(seed, model.input)))
        for seed in seeds
    )
    return replace(model, self_test=SelfTest(seeds, (classes,) * len(seeds), logits))


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
@pytest.mark.parametrize('dtype', [np.float32, np.float16, np.int8])
@pytest.mark.parametrize('color', ['bgr', 'rgb'])
def test_every_runtime_computes_what_the_model_means(
    runtime: Runtime, dtype: type, color: str
) -> None:
    model = tiny_model(dtype=dtype, color=color)
    backend, _ = build(model, runtime)
    for seed in range(3):
        picture = self_test_picture(seed, model.input)
        assert backend.logits(picture) == pytest.approx(reference(model, picture), abs=2e-4)


def test_a_model_that_rounds_its_pools_up_has_the_size_that_trace_says() -> None:
    model = tiny_model(side=25)
    backend, _ = build(model, FP32[0])
    assert backend.logits(self_test_picture(0, model.input)).shape == (5,)


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


@pytest.mark.parametrize('runtime', [Runtime(), *FP32], ids=lambda r: f'{r.backend}-{r.precision}')
def test_the_self_test_passes_where_the_arithmetic_is_right(
    runtime: Runtime, tmp_path: Path
) -> None:
    file.write(with_answers(tiny_model()), tmp_path / 'm.sqz')
    model = load(tmp_path / 'm.sqz', runtime)
    assert model.backend.precision in ('fp32', 'bf16')
    assert model.identity == file.identity(with_answers(tiny_model()))


def test_the_self_test_finds_a_wrong_weight() -> None:
    model = with_answers(tiny_model())
    wrong = model.tensors['squeeze.weight'].values.copy()
    wrong[0] = -wrong[0]
    tensors = {**model.tensors, 'squeeze.weight': Tensor('squeeze.weight', wrong)}
    changed = replace(model, tensors=tensors)
    backend, _ = build(changed, FP32[0])
    with pytest.raises(SelfTestFailed, match='self-test of tiny is off by'):
        self_test(changed, backend)


def test_the_self_test_refuses_answers_that_are_no_numbers() -> None:
    class Broken:
        precision, description = 'fp32', 'broken'

        def logits(self, picture: np.ndarray) -> np.ndarray:
            return np.full(5, np.nan, np.float32)

    with pytest.raises(SelfTestFailed):
        self_test(with_answers(tiny_model()), Broken())


def test_swap_and_rollback(tmp_path: Path) -> None:
    file.write(tiny_model(1), tmp_path / 'one.sqz')
    file.write(tiny_model(2, release=2), tmp_path / 'two.sqz')
    one, two = (load(tmp_path / name, FP32[0]) for name in ('one.sqz', 'two.sqz'))
    classifier = Classifier(one)
    with pytest.raises(SwapRefused, match='no model was in use before'):
        classifier.rollback()
    assert classifier.current is one
    classifier.swap(two)
    assert classifier.current is two
    assert classifier.rollback() is one
    assert classifier.current is one
    assert classifier.swaps == 2


def test_auto_takes_the_first_and_says_why() -> None:
    choice = choose('auto')
    assert choice.name == BACKENDS[0]
    assert 'fastest' in choice.why
    assert choose('onnxruntime').why == 'asked for'


def test_what_can_not_be_had_is_an_error_and_not_another_runtime() -> None:
    with pytest.raises(BackendUnavailable, match='choose one of auto, openvino, onnxruntime'):
        choose('abacus')
    model = to_onnx(tiny_model())
    with pytest.raises(BackendUnavailable, match='fp32'):
        choose('onnxruntime').build(model, Runtime('onnxruntime', 'bf16'))
    with pytest.raises(BackendUnavailable, match='fp64'):
        choose('openvino').build(model, Runtime('openvino', 'fp64'))


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_graph_that_a_runtime_refuses_is_a_named_error(runtime: Runtime) -> None:
    model = to_onnx(tiny_model())
    model.graph.node[-1].op_type = 'NoSuchOperation'
    with pytest.raises(BackendFailed) as caught:
        choose(runtime.backend).build(model, runtime)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_picture_of_the_wrong_size_is_a_named_error(runtime: Runtime) -> None:
    backend, _ = build(tiny_model(), runtime)
    with pytest.raises(BackendFailed, match='failed on a frame'):
        backend.logits(np.zeros((7, 7, 3), np.uint8))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match='none.sqz'):
        load(tmp_path / 'none.sqz')
