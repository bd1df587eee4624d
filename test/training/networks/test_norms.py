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
"""Norms that are put into a network: it answers as before, and its layers are of one scale."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
pytest.importorskip('pytorch_lightning')

from training.networks import norms  # noqa: E402
from training.networks.architecture import Architecture  # noqa: E402
from training.networks.models import SqueezeNet  # noqa: E402

TINY = Architecture(
    base_e=16, incr_e=8, fires=3, squeeze_ratio=0.5, norm=True, classes=4, dropout=0.0
)


@pytest.fixture(params=['none', 'simple', 'complex'])
def net(request: pytest.FixtureRequest) -> SqueezeNet:
    """Return a network with values of a hundred and more, as Caffe's are, and odd norms."""
    torch.manual_seed(5)
    net = SqueezeNet(replace(TINY, bypass=request.param, stem='v1.0')).eval()
    with torch.no_grad():
        net.conv1.weight.mul_(100)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(-2, 2)
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        net.conv10.weight.mul_(100)
    return net


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(32, 3, 64, 64, generator=torch.Generator().manual_seed(7))


def test_settled_norms_leave_the_answers_as_they_are(
    net: SqueezeNet, images: torch.Tensor
) -> None:
    with torch.no_grad():
        before = net(images)
        norms.settle(net, images)
        after, trained = net(images), net.train()(images)
    assert before.std() > 1
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3 * before.std().item())
    # These pictures have the mean and deviation that the norms have kept.
    torch.testing.assert_close(trained, before, rtol=1e-3, atol=1e-3 * before.std().item())


def test_settled_norms_give_all_layers_one_scale(images: torch.Tensor) -> None:
    torch.manual_seed(5)
    net = SqueezeNet(TINY)
    with torch.no_grad():
        net.conv1.weight.mul_(100)
        norms.settle(net, images)
    gains = [m.weight for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(gains) == 7
    torch.testing.assert_close(torch.cat(gains), torch.ones(sum(map(len, gains))))
