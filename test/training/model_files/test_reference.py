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
"""The NumPy reference against a runtime that it has nothing in common with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import build, self_test
from sqz_perception.inference.processor import adds_int8_exactly
from sqz_perception.model.network import Node, self_test_picture
from tiny import int8_model, tiny_model
from training.model_files import reference

FP32 = Runtime('onnxruntime', 'fp32', 1)


@pytest.mark.parametrize('color', ['rgb', 'bgr'])
@pytest.mark.parametrize('dtype', [np.float16, np.int8])
def test_reference_agrees_with_onnxruntime(color: str, dtype: type) -> None:
    model = tiny_model(3, color=color, dtype=dtype)
    backend = build(model, FP32)
    for seed in range(3):
        picture = self_test_picture(seed, model.input)
        expected = backend.logits(picture)
        np.testing.assert_allclose(reference.logits(model, picture), expected, atol=1e-4)


@pytest.mark.skipif(not adds_int8_exactly(127), reason='this processor has no VNNI')
@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('bypass', [True, False])
def test_int8_of_the_reference_is_that_of_the_runtimes(backend: str, bypass: bool) -> None:
    model = int8_model(3, reach=0.5, bypass=bypass)
    model = replace(model, self_test=reference.self_test(model))
    assert len(model.self_test.int8) == len(model.self_test.seeds)
    assert model.self_test.int8 != model.self_test.logits
    assert self_test(model, build(model, Runtime(backend, 'int8', 1))) < 0.02


@pytest.mark.parametrize('side', [23, 24, 25, 26])
@pytest.mark.parametrize(('kernel', 'pad', 'ceil'), [(3, 0, True), (3, 1, False), (2, 0, False)])
def test_pools_agree_at_every_edge(side: int, kernel: int, pad: int, ceil: bool) -> None:
    model = tiny_model(1, side=side)
    pool = Node('max_pool', 'pool1', ('relu1',), stride=2, kernel=kernel, pad=pad, ceil=ceil)
    nodes = tuple(pool if node.name == 'pool1' else node for node in model.nodes)
    model = replace(model, nodes=nodes)
    backend = build(model, FP32)
    picture = self_test_picture(9, model.input)
    expected = backend.logits(picture)
    np.testing.assert_allclose(reference.logits(model, picture), expected, atol=1e-4)


def test_self_test_holds_the_best_classes_first() -> None:
    test = reference.self_test(tiny_model(2))
    assert len(test.seeds) == len(test.classes) == len(test.logits) == 4
    for classes, logits in zip(test.classes, test.logits, strict=True):
        assert len(classes) == 5
        assert list(logits) == sorted(logits, reverse=True)
