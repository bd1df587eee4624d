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
"""torchvision's weights -> a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')
torchvision = pytest.importorskip('torchvision')

from sqz_perception.inference.backend import Runtime  # noqa: E402
from sqz_perception.inference.classifier import build  # noqa: E402
from sqz_perception.model.network import self_test_picture  # noqa: E402
from training import import_weights  # noqa: E402
from training.model_files.assemble import Identity  # noqa: E402
from training.networks.architecture import PRESETS  # noqa: E402
from training.networks.models import SqueezeNet, load_torchvision  # noqa: E402


@pytest.mark.parametrize('name', ['squeezenet1_0', 'squeezenet1_1'])
def test_the_file_gives_torchvisions_answers(name: str) -> None:
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, name)(weights=None, num_classes=12).eval()
    torch.nn.init.normal_(theirs.classifier[1].bias, 0.5, 0.1)  # so that no logit is cut off
    from dataclasses import replace

    ours = SqueezeNet(replace(PRESETS[name], classes=12))
    load_torchvision(ours, theirs.state_dict())
    labels = tuple(f'class {i}' for i in range(12))
    model = import_weights.torchvision_model(ours, labels, Identity(name), 'float32')
    picture = self_test_picture(3, model.input)
    assert picture.shape == (224, 224, 3)
    rgb = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1)
    # the same preprocessing, as torchvision's own weights describe it
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    x = torchvision.transforms.functional.normalize(rgb / 255, preset.mean, preset.std)[None]
    with torch.no_grad():
        expected = theirs(x)[0].numpy()
    answer = build(model, Runtime('onnxruntime', 'fp32', 2)).logits(picture)
    np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)
    assert (model.input.resize, model.input.color) == (preset.resize_size[0], 'rgb')


def test_without_a_network_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))  # nothing was downloaded before
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')  # nobody answers there
    monkeypatch.setenv('HTTPS_PROXY', 'http://127.0.0.1:9')
    out = tmp_path / 'out.sqz'
    assert import_weights.main(['torchvision', 'squeezenet1_1', '-o', str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: https://download.pytorch.org/')
    assert 'go online, or put the file into' in error
    assert not out.exists()


def test_an_unknown_network_is_a_wrong_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as exit_:
        import_weights.main(['torchvision', 'resnet50', '-o', str(tmp_path / 'x.sqz')])
    assert exit_.value.code == 2
    assert 'resnet50' in capsys.readouterr().err


def test_equal_labels_get_the_number_of_their_class(tmp_path: Path) -> None:
    (tmp_path / 'labels.txt').write_text('crane\ndock\ncrane\n')
    found = import_weights.read_labels(tmp_path / 'labels.txt', 3)
    assert found == ('crane (0)', 'dock', 'crane (2)')
