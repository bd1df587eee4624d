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
"""The SqueezeNet family: sizes against the papers', outputs against torchvision's."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
torchvision = pytest.importorskip('torchvision')

from training import models  # noqa: E402
from training.errors import ArchitectureInvalid  # noqa: E402
from training.networks.architecture import PRESETS, Architecture  # noqa: E402
from training.networks.cost import measure  # noqa: E402
from training.networks.models import Fire, SqueezeNet, build, load_torchvision  # noqa: E402


def parameters(architecture: Architecture) -> int:
    return sum(p.numel() for p in SqueezeNet(architecture).parameters())


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('squeezenet1_0', 1_248_424),
        ('squeezenet1_1', 1_235_496),
        ('alexnet', 61_100_840),
        ('resnet50', 25_557_032),
    ],
)
def test_published_networks_have_their_parameters(
    name: str, count: int, capsys: pytest.CaptureFixture
) -> None:
    assert sum(p.numel() for p in build(name).parameters()) == count
    assert models.main([name]) == 0
    assert f'{count:,}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'name', ['squeezenet_small', 'squeezenet_small_deep', 'alexnet_small', 'resnet50_small']
)
def test_small_networks_take_small_pictures(name: str) -> None:
    net = build(name, 7).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_cost_counts_convolutions_and_linear_layers() -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, stride=2, padding=1),  # 8 * 27 weights at 4 x 4 places
        torch.nn.Flatten(),
        torch.nn.Linear(128, 5),
    )
    net.train()
    cost = measure(net, 8)
    assert (cost.parameters, cost.macs) == (8 * 27 + 8 + 128 * 5 + 5, 8 * 27 * 16 + 128 * 5)
    assert net.training


def test_costs_are_of_the_metaparameters_given(capsys: pytest.CaptureFixture) -> None:
    assert models.main(['squeezenet1_0', '--squeeze-ratio', '0.75', '--csv']) == 0
    header, row = capsys.readouterr().out.splitlines()
    values = dict(zip(header.split(','), row.split(','), strict=True))
    assert float(values['fp32']) == pytest.approx(18.47, abs=0.0051)
    assert values['network'] == 'squeezenet1_0'


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        (['vgg'], "there is no network 'vgg'; there are squeezenet1_0, squeezenet1_1"),
        (['alexnet', '--fires', '3'], 'alexnet is no SqueezeNet and has no fires'),
        (['squeezenet1_0', '--squeeze-ratio', '2'], 'squeeze_ratio must be above 0'),
    ],
)
def test_what_describes_no_network_is_one_line(
    line: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert models.main(line) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith('error: ')
    assert message in printed.err
    assert printed.err.count('\n') == 1


@pytest.mark.parametrize('name', ['squeezenet_small', 'squeezenet_small_deep'])
def test_small_network_fits_into_a_megabyte(name: str) -> None:
    assert 2 * parameters(PRESETS[name]) < 1_000_000


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


def test_complex_bypass_projects_where_channels_differ() -> None:
    net = SqueezeNet(Architecture(bypass='complex'))
    projected = {name for name, fire in net.fires.items() if getattr(fire, 'project', None)}
    assert projected == {'fire2', 'fire4', 'fire6', 'fire8'}  # arXiv 1602.07360, figure 2
    assert all(fire.bypass for fire in net.fires.values() if isinstance(fire, Fire))
    fire = net.fires['fire2'].eval()
    x = torch.rand(1, 96, 4, 4)
    with torch.no_grad():
        with_bypass = fire(x)
        fire.bypass = False
        torch.testing.assert_close(with_bypass, fire(x) + fire.project(x))


def test_widening_changes_the_named_layers_only() -> None:
    plain = Architecture()
    wide = Architecture(widen={'fire2.expand3x3': 1.5, 'fire9.expand1x1': 2})
    assert [wide.fire(i) for i in range(1, 7)] == [plain.fire(i) for i in range(1, 7)]
    assert wide.fire(0) == (16, 64, 96)
    assert wide.fire(7) == (64, 512, 256)
    with torch.no_grad():
        assert SqueezeNet(wide).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)


@pytest.mark.parametrize(
    ('stem', 'pools'),
    [
        ('v1.0', ['pool1', 'pool4', 'pool8']),
        ('v1.1', ['pool1', 'pool3', 'pool5']),
        ('small', ['pool2', 'pool5', 'pool8']),
    ],
)
def test_pools_stand_where_the_version_has_them(stem: str, pools: list[str]) -> None:
    net = SqueezeNet(Architecture(stem=stem))
    assert [name for name in net.fires if name.startswith('pool')] == pools


def test_pools_stand_where_the_architecture_has_them() -> None:
    net = SqueezeNet(Architecture(stem='small', fires=6, pools=(0, 0.333, 1)))
    assert [name for name in net.fires if name.startswith('pool')] == ['pool1', 'pool3', 'pool7']
    assert not any(name.startswith('pool') for name in SqueezeNet(Architecture(pools=())).fires)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'base_e': 0}, 'base_e'),
        ({'fires': 0}, 'fires'),
        ({'incr_e': -1}, 'incr_e'),
        ({'pct_3x3': 1.0}, 'pct_3x3'),
        ({'squeeze_ratio': 0.0}, 'squeeze_ratio'),
        ({'dropout': 1.0}, 'dropout'),
        ({'pools': (0.5, 1.1)}, 'pools must be shares from 0, after conv1, to 1'),
        ({'pools': (-0.1,)}, 'pools must be shares'),
        ({'stem': 'v2'}, 'stem must be one of v1.0, v1.1, small'),
        ({'bypass': 'double'}, 'bypass must be one of none, simple, complex'),
        ({'widen': {'fire10.expand1x1': 2}}, 'no expand layer fire10.expand1x1; the first is'),
        ({'widen': {'fire2.squeeze1x1': 2}}, 'no expand layer fire2.squeeze1x1'),
        ({'widen': {'fire2.expand1x1': 0}}, 'a factor is above 0'),
    ],
)
def test_metaparameters_of_no_network_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ArchitectureInvalid, match=message):
        Architecture(**change)


@pytest.mark.parametrize('name', ['squeezenet1_0', 'alexnet'])
def test_pictures_too_small_for_a_network_are_refused(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    assert models.main([name, '--size', '4']) == 1
    assert capsys.readouterr().err == (
        f'error: {name} leaves nothing of pictures of 4x4 pixels; raise --size\n'
    )
    with pytest.raises(SystemExit):
        models.main([name, '--size', '0'])
    assert '0 is less than 1' in capsys.readouterr().err
