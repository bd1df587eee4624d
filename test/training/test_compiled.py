# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of training in OpenVINO: they answer as in PyTorch, and nobody else hears of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip('torch', reason='training needs torch, which make test installs')

from training.compiled import compiled  # noqa: E402
from training.models import build  # noqa: E402

ASK = """
import torch
from training.compiled import compiled
print(compiled(torch.nn.ReLU(), torch.zeros(1, 2))(torch.tensor([[-1.0, 2.0]])).tolist())
"""


@pytest.mark.parametrize(
    ('name', 'side'), [('squeezenet_small_deep', 32), ('squeezenet1_1', 63), ('lite', 47)]
)
def test_a_compiled_network_answers_as_in_pytorch(name: str, side: int) -> None:
    torch.manual_seed(0)
    net = build('efficientnet_lite0' if name == 'lite' else name, classes=10)
    first, second = torch.randn(2, 3, 3, side, side)
    net.train()(first)  # norms that do something
    ask = compiled(net, first, INFERENCE_PRECISION_HINT='f32')
    with torch.inference_mode():
        wanted = net.eval()(second)
    assert wanted.std() > 0
    assert ask(second).numpy() == pytest.approx(wanted.numpy(), rel=1e-3, abs=1e-4)


def test_openvino_does_not_report_home(tmp_path: Path) -> None:
    """It does so through a package of its own; this one would tell that it was imported."""
    spy = tmp_path / 'openvino_telemetry.py'
    spy.write_text('raise SystemExit("reported home")')
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, '-c', ASK],
        env={**os.environ, 'PYTHONPATH': path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.stdout.strip(), done.returncode) == ('[[0.0, 2.0]]', 0), done.stderr
