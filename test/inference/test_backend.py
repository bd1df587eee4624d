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
"""Real runtimes on a small model give the same answers, and what cannot run is a named error."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sqz_perception.errors import BackendFailed, BackendUnavailable, ModelFloatOnly
from sqz_perception.inference import onnxruntime, openvino, processor
from sqz_perception.inference.backend import BACKENDS, Candidate, Runtime, candidates, library
from sqz_perception.inference.loading import build
from sqz_perception.model.graph import to_graph
from sqz_perception.model.network import Model, self_test_picture
from sqz_perception.resources import default_model
from tiny import int8_model, reference, tiny_model

ROOT = Path(__file__).resolve().parents[2]
FP32 = [Runtime(name, 'fp32') for name in BACKENDS]
needs_int8 = pytest.mark.skipif(
    not processor.adds_int8_exactly(127), reason='this processor has no VNNI'
)


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
@pytest.mark.parametrize('dtype', [np.float32, np.float16, np.int8])
@pytest.mark.parametrize('color', ['bgr', 'rgb'])
def test_every_runtime_computes_what_the_model_means(
    runtime: Runtime, dtype: type, color: str
) -> None:
    model = tiny_model(dtype=dtype, color=color)
    backend = build(model, runtime)
    for seed in range(3):
        picture = self_test_picture(seed, model.input)
        assert backend.logits(picture) == pytest.approx(reference(model, picture), abs=2e-4)


def test_a_model_that_rounds_its_pools_up_has_the_size_that_trace_says() -> None:
    model = tiny_model(side=25)
    backend = build(model, FP32[0])
    assert backend.logits(self_test_picture(0, model.input)).shape == (5,)


def test_candidates_are_all_that_run_the_model_and_reasons_for_the_others() -> None:
    found, refused = candidates(Runtime(), tiny_model())
    assert Candidate('openvino', 'fp32') in found
    assert Candidate('onnxruntime', 'fp32') in found
    assert 'int8' not in [candidate.precision for candidate in found]
    assert [type(error) for error in refused].count(ModelFloatOnly) == 2
    found, _ = candidates(Runtime('onnxruntime'), tiny_model())
    assert found == [Candidate('onnxruntime', 'fp32')]
    found, _ = candidates(Runtime(precision='fp32'), tiny_model())
    assert found == [Candidate('openvino', 'fp32'), Candidate('onnxruntime', 'fp32')]


def test_a_processor_that_gets_int8_wrong_does_not_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / 'cpuinfo'
    old.write_text('flags : fpu sse4_2 avx avx2 fma\n')
    monkeypatch.setattr(processor, 'CPUINFO', old)
    monkeypatch.setattr(platform, 'machine', lambda: 'x86_64')
    found, refused = candidates(Runtime(), int8_model())
    assert 'int8' not in [candidate.precision for candidate in found]
    assert [str(error) for error in refused if 'this processor has no VNNI' in str(error)]
    for backend in BACKENDS:
        asked = Runtime(backend, 'int8')
        with pytest.raises(BackendUnavailable, match='no VNNI.*set precision to auto'):
            build(int8_model(), asked)
        assert candidates(asked, small_levels())[0] == [Candidate(backend, 'int8')]


def small_levels() -> Model:
    """Return a model whose levels are so small that every processor adds them exactly."""
    model = int8_model()
    halved = {
        name: replace(tensor, values=tensor.values // 2)
        for name, tensor in model.tensors.items()
        if tensor.step is not None
    }
    return replace(model, tensors={**model.tensors, **halved})


@needs_int8
@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
def test_int8_of_a_model_without_it_is_an_error_that_says_what_to_do(backend: str) -> None:
    no_ranges = tiny_model(dtype=np.int8)
    no_levels = replace(int8_model(), tensors=tiny_model().tensors)
    for model in (no_ranges, no_levels):
        with pytest.raises(ModelFloatOnly, match='python -m training.compress'):
            build(model, Runtime(backend, 'int8'))


def test_what_can_not_be_had_is_an_error_and_not_another_runtime() -> None:
    with pytest.raises(BackendUnavailable, match='choose one of auto, openvino, onnxruntime'):
        build(tiny_model(), Runtime('abacus'))
    with pytest.raises(BackendUnavailable, match='not run bf16.* one of auto, int8, fp32'):
        build(int8_model(), Runtime('onnxruntime', 'bf16'))
    with pytest.raises(BackendUnavailable, match='not run fp64'):
        build(int8_model(), Runtime('openvino', 'fp64'))


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_graph_that_a_runtime_refuses_is_a_named_error(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = to_graph(tiny_model())
    graph.proto.graph.node[-1].op_type = 'NoSuchOperation'
    for module in (openvino, onnxruntime):
        monkeypatch.setattr(module, 'to_graph', lambda model, int8: graph)
    with pytest.raises(BackendFailed, match='refused the model') as caught:
        build(tiny_model(), runtime)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('runtime', FP32, ids=lambda runtime: runtime.backend)
def test_a_picture_of_the_wrong_size_is_a_named_error(runtime: Runtime) -> None:
    backend = build(tiny_model(), runtime)
    with pytest.raises(BackendFailed, match='failed on a frame'):
        backend.logits(np.zeros((7, 7, 3), np.uint8))


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        (['onnx'], r"No module named 'onnx'\); pip install onnx\n"),
        (
            ['openvino', 'onnxruntime'],
            'openvino cannot .*; onnxruntime cannot .*install openvino',
        ),
    ],
)
def test_a_missing_module_is_one_line_with_the_remedy(
    missing: list[str], message: str, tmp_path: Path
) -> None:
    for name in missing:
        error = f'ModuleNotFoundError("No module named {name!r}", name={name!r})'
        (tmp_path / f'{name}.py').write_text(f'raise {error}')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', ''), str(ROOT)])
    result = subprocess.run(
        [sys.executable, '-m', 'sqz_perception', 'verify', default_model()],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, 'PYTHONPATH': path},
    )
    assert result.returncode == 1
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
    assert re.search(message, result.stderr), result.stderr


def test_a_module_that_fails_in_another_way_is_a_named_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(name: str) -> None:
        raise AttributeError('_ARRAY_API not found')

    monkeypatch.setattr('importlib.import_module', fail)
    with pytest.raises(BackendUnavailable, match='_ARRAY_API.*install openvino'):
        library('openvino')
