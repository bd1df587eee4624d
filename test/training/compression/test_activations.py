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
"""What is seen from inside a network, against PyTorch's own unfold and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from sqz_perception.model.network import Model, Node, self_test_picture
from tiny import tiny_model
from training.compression import activations
from training.compression.activations import Pictures
from training.model_files.torch_network import TorchNetwork

COUNT = 6


def pictures(model: Model) -> np.ndarray:
    return np.stack([self_test_picture(n, model.input) for n in range(COUNT)])


def test_samples_are_what_the_kernel_sees_there() -> None:
    model = tiny_model()
    inside, net = Pictures(model, pictures(model)), TorchNetwork(model)
    values: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        net(torch.from_numpy(inside.values), lambda name, value: values.update({name: value}))
    seen: dict[str, torch.Tensor] = {}
    inside.march(net, lambda node, samples: seen.update({node.name: samples}))
    assert list(seen) == [node.name for node in model.convolutions]
    for node in model.convolutions:
        weight = net.weights[node.name]
        unfolded = functional.unfold(
            values[node.inputs[0]], weight.shape[2:], padding=node.pad, stride=node.stride
        )  # (N, K, places)
        places = inside.places[node.name]
        assert sorted(places[0].tolist()) == list(range(unfolded.shape[2]))  # few: all are drawn
        wanted = torch.stack(
            [one[:, at].T for one, at in zip(unfolded, places, strict=True)]
        ).flatten(0, 1)
        torch.testing.assert_close(seen[node.name], wanted)


def test_large_outputs_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, 'SAMPLES', 5 * COUNT)
    model = tiny_model()
    inside = Pictures(model, pictures(model))
    assert {tuple(places.shape) for places in inside.places.values()} == {(COUNT, 5)}
    again = Pictures(model, pictures(model))
    assert all(torch.equal(inside.places[name], again.places[name]) for name in inside.places)


def test_a_changed_layer_is_seen_by_the_next() -> None:
    model = tiny_model()
    inside, net = Pictures(model, pictures(model)), TorchNetwork(model)
    before: dict[str, torch.Tensor] = {}
    inside.march(net, lambda node, samples: before.update({node.name: samples}))

    def visit(node: Node, samples: torch.Tensor) -> None:
        if node.name == 'conv1':
            assert torch.equal(samples, before['conv1'])
            weight, bias = net.weights['conv1'].detach(), net.biases['conv1'].detach()
            net.replace('conv1', 2 * weight.numpy(), 2 * bias.numpy())
        if node.name == 'squeeze':
            torch.testing.assert_close(samples, 2 * before['squeeze'])

    inside.march(net, visit)


def test_the_importance_of_a_bias_is_its_squared_gradient() -> None:
    model = tiny_model(labels=('no', 'yes'))
    inside, net = Pictures(model, pictures(model)), TorchNetwork(model)
    found = inside.importance(net)
    # With two classes the gradients of both labels are known, and how often each is drawn.
    expected = {
        node.name: torch.zeros(2, len(net.biases[node.name])) for node in model.convolutions
    }
    for picture in torch.from_numpy(inside.values).split(1):
        logits = net(picture)
        for label in range(2):
            net.zero_grad()
            functional.cross_entropy(logits, torch.tensor([label])).backward(retain_graph=True)
            for name, sums in expected.items():
                sums[label] += net.biases[name].grad ** 2
    for name, sums in expected.items():
        low, high = sums.sort(dim=0).values / len(inside.values)
        assert (found[name].bias.float() <= 2 * high + 1e-12).all()
        assert found[name].bias.sum() >= 0.1 * low.sum()
        assert (found[name].weight >= 0).all()
    assert found['conv10'].weight.sum() > 0
