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
"""A torch network -> a model file: the same answers, whatever the network is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from sqz_perception.inference.backend import Runtime  # noqa: E402
from sqz_perception.inference.classifier import build, self_test  # noqa: E402
from sqz_perception.model import file  # noqa: E402
from sqz_perception.model.network import InputSpec, Model, self_test_picture  # noqa: E402
from training import export  # noqa: E402
from training.model_files import checkpoints  # noqa: E402
from training.model_files.assemble import Identity  # noqa: E402
from training.networks.architecture import Architecture  # noqa: E402
from training.networks.config import Description, ModelConfig, Preprocessing  # noqa: E402
from training.networks.models import SqueezeNet  # noqa: E402

FP32 = Runtime('onnxruntime', 'fp32', 1)
MEAN, STD = (120.0, 115.0, 104.0), (63.0, 62.0, 66.0)
LABELS = ('a', 'b', 'c', 'd', 'e', 'f')


def trained_net(stem: str, norm: bool, bypass: str) -> SqueezeNet:
    """Return a net that looks trained: norms with statistics, biases that are not zero."""
    torch.manual_seed(7)
    net = SqueezeNet(
        Architecture(
            base_e=16,
            incr_e=8,
            fires=4,
            stem=stem,
            norm=norm,
            bypass=bypass,
            squeeze_ratio=0.25,
            classes=len(LABELS),
        )
    )
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, 0, 0.1)
    torch.nn.init.normal_(net.conv10.weight, 0, 0.2)
    return net.eval()


def exported(net: SqueezeNet, size: int, dtype: str) -> Model:
    spec = InputSpec(size, size, size, 'rgb', MEAN, tuple(1 / std for std in STD))
    return checkpoints.to_model(net, spec, LABELS, Identity('test-net'), dtype)


def torch_logits(net: SqueezeNet, picture: np.ndarray) -> np.ndarray:
    """Return what torch makes of a BGR picture."""
    rgb = torch.from_numpy(picture[:, :, ::-1].copy()).float()
    x = ((rgb - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return net(x)[0].numpy()


@pytest.mark.parametrize('bypass', ['none', 'simple', 'complex'])
@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize(('stem', 'size'), [('v1.0', 64), ('v1.1', 63), ('small', 32)])
def test_a_runtime_gives_torchs_answers(stem: str, size: int, norm: bool, bypass: str) -> None:
    net = trained_net(stem, norm, bypass)
    model = file.decode(file.encode(exported(net, size, 'float32')))
    backend = build(model, FP32)
    for seed in (5, 6):
        picture = self_test_picture(seed, model.input)
        expected = torch_logits(net, picture)
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(backend.logits(picture), expected, rtol=1e-3, atol=1e-4)


def test_half_precision_is_close_and_half_the_size() -> None:
    net = trained_net('small', True, 'simple')
    whole, half = (exported(net, 32, dtype) for dtype in ('float32', 'float16'))
    picture = self_test_picture(5, half.input)
    expected = torch_logits(net, picture)
    backend = build(half, FP32)
    np.testing.assert_allclose(backend.logits(picture), expected, atol=0.01 * np.ptp(expected))
    weights = sum(tensor.values.size for tensor in half.tensors.values() if tensor.values.ndim > 1)
    saved = len(file.encode(whole, plain=True)) - len(file.encode(half, plain=True))
    assert saved == pytest.approx(2 * weights, abs=100)


def test_the_self_test_knows_the_stored_weights() -> None:
    model = exported(trained_net('small', True, 'simple'), 32, 'float16')
    backend = build(model, FP32)
    assert self_test(model, backend) < 1e-4


def save_checkpoint(path: Path, net: SqueezeNet, labels: tuple[str, ...] = LABELS) -> Path:
    state = {f'net.{name}': value for name, value in net.state_dict().items()}
    config = ModelConfig(net.architecture)
    description = Description(config, Preprocessing('rgb', MEAN, STD), labels, 32).plain()
    torch.save({'state_dict': state, 'sqz_perception': description}, path)
    return path


def test_command_writes_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    net = trained_net('small', True, 'simple')
    checkpoint = save_checkpoint(tmp_path / 'best.ckpt', net)
    out = tmp_path / 'out.sqz'
    arguments = [
        str(checkpoint),
        '-o',
        str(out),
        '--name',
        'net',
        '--release',
        '3',
        '--licence',
        'MIT',
        '--description',
        'six letters',
    ]
    assert export.main(arguments) == 0
    model = file.read(out)
    assert (model.name, model.release, model.licence) == ('net', 3, 'MIT')
    assert model.labels == LABELS
    assert model.input.color == 'rgb'
    picture = self_test_picture(1, model.input)
    expected = torch_logits(net, picture)
    np.testing.assert_allclose(
        build(model, FP32).logits(picture), expected, atol=0.01 * np.ptp(expected)
    )
    assert capsys.readouterr().out.startswith(f'{out}: net release 3')


def test_a_baseline_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = save_checkpoint(tmp_path / 'best.ckpt', trained_net('small', True, 'simple'))
    content = torch.load(path)
    content['sqz_perception']['config']['baseline'] = 'alexnet_small'
    torch.save(content, path)
    assert export.main([str(path), '-o', str(tmp_path / 'out.sqz'), '--name', 'net']) == 1
    assert 'alexnet_small, which is there to compare with' in capsys.readouterr().err


@pytest.mark.parametrize('content', [None, b'', b'not a checkpoint'])
def test_what_is_no_checkpoint_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / 'best.ckpt'
    if content is not None:
        path.write_bytes(content)
    assert export.main([str(path), '-o', str(tmp_path / 'out.sqz'), '--name', 'net']) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert str(path) in error


def test_a_checkpoint_of_another_program_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    torch.save({'state_dict': {}}, tmp_path / 'other.ckpt')
    arguments = [str(tmp_path / 'other.ckpt'), '-o', str(tmp_path / 'out.sqz'), '--name', 'net']
    assert export.main(arguments) == 1
    assert 'no checkpoint of this training.train' in capsys.readouterr().err
    assert not (tmp_path / 'out.sqz').exists()


def test_weights_too_large_for_half_precision_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    net = trained_net('small', False, 'none')
    with torch.no_grad():
        net.conv10.weight[0, 0] = 1e6
    checkpoint = save_checkpoint(tmp_path / 'best.ckpt', net)
    out = tmp_path / 'out.sqz'
    assert export.main([str(checkpoint), '-o', str(out), '--name', 'net']) == 1
    assert 'float32' in capsys.readouterr().err
    assert not out.exists()
