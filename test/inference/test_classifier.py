# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Real runtimes on a real, small model: the same answers from each, and none in silence wrong."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sqz_perception.errors import (
    BackendFailed,
    BackendUnavailable,
    LoadCancelled,
    ModelFloatOnly,
    ModelNotFound,
    SelfTestFailed,
    SwapRefused,
)
from sqz_perception.inference import processor
from sqz_perception.inference.backend import BACKENDS, Runtime, choose
from sqz_perception.inference.classifier import (
    SELF_TEST_TOLERANCE,
    Classifier,
    build,
    load,
    self_test,
    softmax,
)
from sqz_perception.model import file
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.network import Model, SelfTest, Tensor, self_test_picture
from tiny import Keep, everything, int8_model, kept_by_int8, reference, tiny_model

needs_int8 = pytest.mark.skipif(
    not processor.adds_int8_exactly(127), reason='this processor has no VNNI'
)
FP32 = [Runtime(name, 'fp32') for name in BACKENDS]


def with_answers(model: Model) -> Model:
    """Return the model with a self-test whose answers are right, those of int8 too if it can."""
    seeds = (1, 2)
    classes = (tuple(range(len(model.labels))),) * len(seeds)

    def answers(keep: Keep = everything) -> tuple[tuple[float, ...], ...]:
        pictures = [self_test_picture(seed, model.input) for seed in seeds]
        return tuple(tuple(reference(model, picture, keep).tolist()) for picture in pictures)

    int8 = answers(kept_by_int8(model.ranges)) if model.ranges else ()
    return replace(model, self_test=SelfTest(seeds, classes, answers(), int8))


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
    assert model.backend.precision in ('fp32', 'bf16')  # no int8: the model has no levels
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
    with pytest.raises(SwapRefused, match='there is no earlier model'):
        classifier.rollback()
    assert classifier.current is one
    assert classifier.swap(two) is one
    assert classifier.current is two
    assert classifier.rollback() is two
    assert classifier.current is one
    assert classifier.swaps == 2


def test_auto_takes_the_first_and_says_why() -> None:
    choice = choose(Runtime(), tiny_model())
    assert choice.name == BACKENDS[0]
    assert 'fastest on a CPU' in choice.why
    asked = choose(Runtime('onnxruntime'), tiny_model())
    assert asked.why == 'asked for; fp32: its fastest arithmetic'


@needs_int8
def test_auto_takes_int8_where_the_model_can_and_it_is_faster() -> None:
    assert choose(Runtime('openvino'), int8_model()).precision == 'int8'
    floating = choose(Runtime('openvino'), tiny_model())
    assert floating.precision in ('fp32', 'bf16')
    assert floating.why.endswith(f'{floating.precision}: the model has no int8')
    assert choose(Runtime('onnxruntime'), int8_model()).precision == 'fp32'
    asked = choose(Runtime('onnxruntime', 'int8'), int8_model())
    assert (asked.precision, asked.why) == ('int8', 'asked for; int8: asked for')


def test_a_processor_that_gets_int8_wrong_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / 'cpuinfo'
    old.write_text('flags : fpu sse4_2 avx avx2 fma\n')
    monkeypatch.setattr(processor, 'CPUINFO', old)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    choice = choose(Runtime('openvino'), int8_model())
    assert choice.precision in ('bf16', 'fp32')
    assert 'this processor has no VNNI' in choice.why
    for backend in BACKENDS:
        with pytest.raises(BackendUnavailable, match='no VNNI.*set precision to auto'):
            choose(Runtime(backend, 'int8'), int8_model())
        assert choose(Runtime(backend, 'int8'), small_levels()).precision == 'int8'
    assert choose(Runtime('openvino'), small_levels()).precision == 'int8'
    assert choose(Runtime('openvino'), tiny_model()).why.endswith('the model has no int8')


def small_levels() -> Model:
    """Return a model whose levels are so small that every processor adds them exactly."""
    model = int8_model()
    halved = {
        name: replace(tensor, values=tensor.values // 2)
        for name, tensor in model.tensors.items()
        if tensor.step is not None
    }
    return replace(model, tensors={**model.tensors, **halved})


def test_who_gets_int8_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo = tmp_path / 'cpuinfo'
    monkeypatch.setattr(processor, 'CPUINFO', cpuinfo)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    assert not processor.adds_int8_exactly(65)  # it can't be known
    assert processor.adds_int8_exactly(64)
    cpuinfo.write_text('flags : avx2 avx_vnni\n')
    assert processor.adds_int8_exactly(127)
    cpuinfo.write_text('flags : avx2 avx512f\n')
    assert not processor.adds_int8_exactly(127)
    monkeypatch.setattr(platform, 'machine', lambda: 'aarch64')
    assert processor.adds_int8_exactly(127)


@needs_int8
@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('reach', [1.0, 0.5])
def test_int8_is_judged_by_what_int8_should_give(
    backend: str, reach: float, tmp_path: Path
) -> None:
    """However far that is from fp32: ranges that suit photos may clip the made-up pictures."""
    model = with_answers(int8_model(reach=reach))
    file.write(model, tmp_path / 'm.sqz')
    loaded = load(tmp_path / 'm.sqz', Runtime(backend, 'int8'))
    assert loaded.backend.precision == 'int8'
    assert 'int8' in loaded.backend.description
    assert self_test(model, loaded.backend) < SELF_TEST_TOLERANCE['int8'] / 5
    rounded, exact = (np.concatenate(a) for a in (model.self_test.int8, model.self_test.logits))
    assert (np.linalg.norm(rounded - exact) > 0.2 * np.linalg.norm(exact)) == (reach < 1)


@needs_int8
@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
def test_int8_of_a_model_without_it_is_an_error_that_says_what_to_do(backend: str) -> None:
    no_ranges = tiny_model(dtype=np.int8)
    no_levels = replace(int8_model(), tensors=tiny_model().tensors)
    for model in (no_ranges, no_levels):
        with pytest.raises(ModelFloatOnly, match='python -m training.compress'):
            build(model, Runtime(backend, 'int8'))


@needs_int8
@pytest.mark.parametrize('wrong', ['ranges', 'filters'])
def test_the_self_test_finds_a_wrong_int8_model(wrong: str) -> None:
    model = with_answers(int8_model())
    tensor = model.tensors['squeeze.weight']
    rolled = replace(tensor, values=np.roll(tensor.values, 1, axis=0))
    changed = {
        'ranges': replace(model, ranges={**model.ranges, 'relu1': model.ranges['relu1'] / 4}),
        'filters': replace(model, tensors={**model.tensors, tensor.name: rolled}),
    }[wrong]
    backend, _ = build(changed, Runtime('openvino', 'int8'))
    with pytest.raises(SelfTestFailed, match=r'int8.*self-test of tiny is off by'):
        self_test(changed, backend)


def test_what_can_not_be_had_is_an_error_and_not_another_runtime() -> None:
    with pytest.raises(BackendUnavailable, match='choose one of auto, openvino, onnxruntime'):
        choose(Runtime('abacus'), tiny_model())
    with pytest.raises(BackendUnavailable, match='not run bf16.* one of auto, fp32'):
        choose(Runtime('onnxruntime', 'bf16'), int8_model())
    with pytest.raises(BackendUnavailable, match='not run fp64'):
        choose(Runtime('openvino', 'fp64'), int8_model())


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_graph_that_a_runtime_refuses_is_a_named_error(runtime: Runtime) -> None:
    model = to_onnx(tiny_model())
    model.graph.node[-1].op_type = 'NoSuchOperation'
    with pytest.raises(BackendFailed) as caught:
        choose(runtime, tiny_model()).build(model, 1)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_picture_of_the_wrong_size_is_a_named_error(runtime: Runtime) -> None:
    backend, _ = build(tiny_model(), runtime)
    with pytest.raises(BackendFailed, match='failed on a frame'):
        backend.logits(np.zeros((7, 7, 3), np.uint8))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match='none.sqz'):
        load(tmp_path / 'none.sqz')


@pytest.mark.parametrize('stage', range(5))
def test_a_load_is_cancelled_between_its_stages(stage: int, tmp_path: Path) -> None:
    file.write(with_answers(tiny_model()), tmp_path / 'm.sqz')
    answers = iter([False] * stage + [True])
    with pytest.raises(LoadCancelled, match=r'm.sqz: loading was cancelled'):
        load(tmp_path / 'm.sqz', FP32[0], lambda: next(answers))


def test_a_loaded_model_knows_how_long_a_picture_takes(tmp_path: Path) -> None:
    file.write(tiny_model(), tmp_path / 'm.sqz')
    assert 0 < load(tmp_path / 'm.sqz', FP32[0]).milliseconds < 1000
