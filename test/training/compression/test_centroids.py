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
"""Tuning shared values: nearer to the original's answers on other pictures, never farther."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from sqz_perception.model import file  # noqa: E402
from sqz_perception.model.network import Model, self_test_picture  # noqa: E402
from tiny import tiny_model  # noqa: E402
from training.compression import centroids  # noqa: E402
from training.compression.activations import logits  # noqa: E402
from training.compression.centroids import tune  # noqa: E402
from training.compression.weight_sharing import deep_compress, densities  # noqa: E402
from training.evaluation.outcome import divergence  # noqa: E402
from training.model_files.torch_network import TorchNetwork  # noqa: E402


def photos(model: Model, count: int = 48) -> np.ndarray:
    return np.stack([self_test_picture(seed, model.input) for seed in range(count)])


def apart(model: Model, other: Model, pictures: np.ndarray) -> float:
    before, after = (logits(TorchNetwork(m), pictures) for m in (model, other))
    return divergence(before.numpy(), after.numpy())


def test_tuning_brings_the_answers_back_and_keeps_who_shares() -> None:
    model = tiny_model()
    shared = deep_compress(model, densities(model, 0.6), 2)
    tuned = tune(model, shared, photos(model), 20)
    unseen = np.stack([self_test_picture(seed, model.input) for seed in range(100, 148)])
    assert apart(model, tuned, unseen) < 0.5 * apart(model, shared, unseen)
    for node in model.convolutions:
        before, after = shared.tensors[node.weight], tuned.tensors[node.weight]
        assert (before.values == after.values).all()
        assert ((before.dense() == 0) == (after.dense() == 0)).all()
    assert file.encode(tune(model, shared, photos(model), 20)) == file.encode(tuned)


def test_tuning_never_makes_it_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model()
    shared = deep_compress(model, {}, 6)
    monkeypatch.setattr(centroids, 'RATE', 50.0)
    assert tune(model, shared, photos(model), 2) is shared
    assert tune(model, shared, photos(model), 0) is shared


def test_a_values_gradient_is_the_sum_over_its_weights() -> None:
    codes = torch.tensor([[0, 1], [2, 1]])
    weight = torch.zeros(2, 2)
    weight.grad = torch.tensor([[1.0, 2.0], [4.0, 8.0]])
    codebook = torch.tensor([-1.0, 0.5, 0.0])
    gradient = centroids._shared_gradient(codes, weight, codebook)
    assert gradient.tolist() == [1, 10, 0]
