# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The SqueezeNet family: sizes against the papers', outputs against torchvision's."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
torchvision = pytest.importorskip('torchvision')

from sqz_perception.errors import ArchitectureInvalid  # noqa: E402
from training.models import PRESETS, Architecture, SqueezeNet, load_torchvision  # noqa: E402


def parameters(architecture: Architecture) -> int:
    return sum(p.numel() for p in SqueezeNet(architecture).parameters())


@pytest.mark.parametrize(
    ('preset', 'count'), [('squeezenet1_0', 1_248_424), ('squeezenet1_1', 1_235_496)]
)
def test_published_networks_have_their_parameters(preset: str, count: int) -> None:
    assert parameters(PRESETS[preset]) == count


def test_small_network_fits_into_a_megabyte() -> None:
    assert 2 * parameters(PRESETS['squeezenet_small']) < 1_000_000


@pytest.mark.parametrize(
    ('change', 'mebibytes'),
    [
        ({'squeeze_ratio': r}, m)
        for r, m in ((0.125, 4.76), (0.25, 7.50), (0.5, 12.99), (0.75, 18.47), (1.0, 23.95))
    ]
    + [
        ({'squeeze_ratio': 0.5, 'pct_3x3': p}, m)
        for p, m in (
            (0.01, 5.64),
            (0.125, 7.36),
            (0.25, 9.24),
            (0.5, 12.99),
            (0.75, 16.74),
            (0.99, 20.33),
        )
    ],
)
def test_metaparameters_give_the_sizes_of_the_paper(change: dict, mebibytes: float) -> None:
    size = 4 * parameters(replace(Architecture(), **change)) / 2**20
    assert size == pytest.approx(mebibytes, abs=0.0051)


@pytest.mark.parametrize('preset', ['squeezenet1_0', 'squeezenet1_1'])
def test_torchvision_weights_give_torchvisions_answers(preset: str) -> None:
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, preset)(weights=None).eval()
    ours = SqueezeNet(PRESETS[preset]).eval()
    load_torchvision(ours, theirs.state_dict())
    pictures = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=1e-4, atol=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    with pytest.raises(ArchitectureInvalid, match='not the weights of this SqueezeNet'):
        load_torchvision(SqueezeNet(PRESETS['squeezenet1_0']), state)


def test_simple_bypass_is_around_every_second_module() -> None:
    net = SqueezeNet(Architecture(bypass='simple'))
    bypassed = [name for name, layer in net.fires.items() if getattr(layer, 'bypass', False)]
    assert bypassed == ['fire3', 'fire5', 'fire7', 'fire9']


def test_bypass_adds_the_input() -> None:
    net = SqueezeNet(Architecture(bypass='simple', fires=2, stem='small')).eval()
    fire = net.fires['fire3']
    x = torch.rand(1, 128, 4, 4)
    with torch.no_grad():
        with_bypass = fire(x)
        fire.bypass = False
        torch.testing.assert_close(with_bypass, fire(x) + x)


@pytest.mark.parametrize(
    ('stem', 'pools'),
    [
        ('v1.0', ['pool1', 'pool4', 'pool8']),
        ('v1.1', ['pool1', 'pool3', 'pool5']),
        ('small', ['pool1', 'pool5']),
    ],
)
def test_pools_stand_where_the_version_has_them(stem: str, pools: list[str]) -> None:
    net = SqueezeNet(Architecture(stem=stem))
    assert [name for name in net.fires if name.startswith('pool')] == pools


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'base_e': 0}, 'base_e'),
        ({'fires': 0}, 'fires'),
        ({'incr_e': -1}, 'incr_e'),
        ({'pct_3x3': 1.0}, 'pct_3x3'),
        ({'squeeze_ratio': 0.0}, 'squeeze_ratio'),
        ({'dropout': 1.0}, 'dropout'),
        ({'stem': 'v2'}, 'stem must be one of v1.0, v1.1, small'),
        ({'bypass': 'complex'}, 'bypass must be one of none, simple'),
    ],
)
def test_metaparameters_of_no_network_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ArchitectureInvalid, match=message):
        Architecture(**change)
