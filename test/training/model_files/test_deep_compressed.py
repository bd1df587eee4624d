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
"""The published .net file, made here from random weights, and all that can be wrong with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqz_perception.errors import ModelInvalid
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import load
from sqz_perception.model import file
from training import import_weights
from training.data.archive import Archive
from training.errors import ImportFailed
from training.model_files import deep_compressed
from training.model_files.assemble import Identity, Layer

ROOT = Path(__file__).resolve().parents[3]
HEADER = 4 * 26


def random_layers(seed: int, density: float = 0.02) -> dict[str, Layer]:
    """Return sparse layers with at most 255 different weights each."""
    rng = np.random.default_rng(seed)
    layers = {}
    for name, shape in deep_compressed.shapes().items():
        codebook = rng.normal(0, 0.1, 256).astype(np.float32)
        weight = codebook[rng.integers(1, 256, shape)] * (rng.random(shape) < density)
        layers[name] = Layer(weight.astype(np.float32), rng.normal(0, 1, shape[0]).astype('f4'))
    return layers


def encode_layer(layer: Layer) -> tuple[int, bytes]:
    """Return a layer's count of entries and its bytes."""
    flat = layer.weight.reshape(-1)
    codebook = np.zeros(256, np.float32)
    values = np.unique(flat[flat != 0])
    codebook[1 : len(values) + 1] = values
    codes, gaps, last = [], [], -1
    for position in np.flatnonzero(flat):
        while position - last > 16:
            codes.append(0)
            gaps.append(15)
            last += 16
        codes.append(1 + int(np.searchsorted(values, flat[position])))
        gaps.append(int(position - last - 1))
        last = int(position)
    low, high = np.array(gaps[::2], np.uint8), np.array(gaps[1::2] + [0] * (len(gaps) % 2), 'u1')
    packed = (low | (high << 4)).astype(np.uint8)
    parts = (codebook.astype('<f4'), layer.bias.astype('<f4'), np.array(codes, 'u1'), packed)
    return len(codes), b''.join(part.tobytes() for part in parts)


def encode(layers: dict[str, Layer]) -> bytes:
    encoded = [encode_layer(layer) for layer in layers.values()]
    return np.array([n for n, _ in encoded], '<u4').tobytes() + b''.join(b for _, b in encoded)


LAYERS = random_layers(0)
NET = encode(LAYERS)


def offset_of_conv1(field: str) -> int:
    """Return where a field of the first layer begins."""
    entries, _ = encode_layer(LAYERS['conv1'])
    codes = HEADER + 4 * 256 + 4 * 96
    return {'codebook': HEADER, 'bias': HEADER + 4 * 256, 'codes': codes, 'gaps': codes + entries}[
        field
    ]


@pytest.mark.parametrize('density', [0.0, 0.02, 0.4])
def test_every_weight_and_bias_comes_back(density: float) -> None:
    layers = random_layers(1, density)
    decoded = deep_compressed.decode(encode(layers))
    assert list(decoded) == list(layers)
    for name, layer in layers.items():
        np.testing.assert_array_equal(decoded[name].weight, layer.weight)
        np.testing.assert_array_equal(decoded[name].bias, layer.bias)


def test_a_codebook_keeps_shared_weights_without_loss(tmp_path: Path) -> None:
    layers = random_layers(2, 0.02)
    labels = tuple(f'class {i}' for i in range(1000))
    shared, whole = (
        deep_compressed.to_model(layers, labels, Identity('net'), dtype)
        for dtype in ('codebook', 'float32')
    )
    assert shared.self_test == whole.self_test
    size = file.write(shared, tmp_path / 'shared.sqz')
    assert size < file.write(whole, tmp_path / 'whole.sqz')
    found = file.read(tmp_path / 'shared.sqz')
    for name, tensor in whole.tensors.items():
        np.testing.assert_array_equal(found.tensors[name].dense(), tensor.dense())
    for name in deep_compressed.shapes():
        codebook = found.tensors[f'{name}.weight'].codebook
        assert codebook is not None
        assert (np.diff(codebook) > 0).all()
        assert 0 in codebook


def test_too_many_different_weights_for_a_codebook_are_named() -> None:
    layers = dict(LAYERS)
    weight = np.arange(layers['conv1'].weight.size, dtype=np.float32)
    layers['conv1'] = Layer(weight.reshape(layers['conv1'].weight.shape), layers['conv1'].bias)
    with pytest.raises(ModelInvalid, match='14,112 different weights; a codebook has at most 256'):
        deep_compressed.to_model(layers, ('x',) * 1000, Identity('net'), 'codebook')


def test_the_network_is_squeezenet() -> None:
    shapes = deep_compressed.shapes()
    assert len(shapes) == 26
    assert sum(np.prod(shape) for shape in shapes.values()) == 1_244_448


@given(st.integers(0, len(NET) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ImportFailed):
        deep_compressed.decode(NET[:length])


@given(st.binary(min_size=1, max_size=64))
def test_a_file_that_goes_on_is_refused(tail: bytes) -> None:
    with pytest.raises(ImportFailed, match='get the file again'):
        deep_compressed.decode(NET + tail)


@given(st.integers(0, 25), st.integers(0, 2**32 - 1))
def test_counts_that_lie_are_refused(index: int, count: int) -> None:
    counts = np.frombuffer(NET, '<u4', 26).copy()
    if counts[index] == count:
        return
    counts[index] = count
    with pytest.raises(ImportFailed):
        deep_compressed.decode(counts.tobytes() + NET[HEADER:])


@settings(max_examples=60)
@given(st.integers(0, len(NET) - 1), st.integers(1, 255))
def test_an_altered_byte_is_refused_or_changes_values_only(position: int, change: int) -> None:
    data = bytearray(NET)
    data[position] ^= change
    try:
        decoded = deep_compressed.decode(bytes(data))
    except ImportFailed:
        return
    assert {n: layer.weight.shape for n, layer in decoded.items()} == deep_compressed.shapes()
    assert all(np.isfinite(layer.weight).all() for layer in decoded.values())


@pytest.mark.parametrize(
    ('field', 'replacement', 'message'),
    [
        ('codebook', np.float32(0.5).tobytes(), 'not zero, for the weights left out'),
        ('codebook', np.float32(np.nan).tobytes(), 'not finite'),
        ('bias', np.float32(np.inf).tobytes(), 'not finite'),
        ('gaps', b'\xff' * 140, 'puts an entry at'),
    ],
)
def test_impossible_values_are_named(field: str, replacement: bytes, message: str) -> None:
    layers = {**LAYERS, 'conv1': random_layers(2, 0.5)['conv1']} if field == 'gaps' else LAYERS
    data = bytearray(encode(layers))
    entries, _ = encode_layer(layers['conv1'])
    start = offset_of_conv1(field) if field != 'gaps' else offset_of_conv1('codes') + entries
    if field == 'gaps':
        replacement = b'\xff' * (entries // 2)
    data[start : start + len(replacement)] = replacement
    with pytest.raises(ImportFailed, match=message):
        deep_compressed.decode(bytes(data))


def test_a_gap_after_the_last_entry_is_refused() -> None:
    layers = dict(LAYERS)
    weight = np.zeros((96, 3, 7, 7), np.float32)
    weight[0, 0, 0, 0] = 1  # one entry, so the high half of its byte is unused
    layers['conv1'] = Layer(weight, layers['conv1'].bias)
    data = bytearray(encode(layers))
    data[HEADER + 4 * 256 + 4 * 96 + 1] |= 0x30
    with pytest.raises(ImportFailed, match='gap after its last entry'):
        deep_compressed.decode(bytes(data))


def test_command_writes_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'weights.net').write_bytes(NET)
    labels = '\r\n'.join(f'class {i}' for i in range(1000)) + '\r\n'
    (tmp_path / 'labels.txt').write_bytes(b'\xef\xbb\xbf' + labels.encode())  # as Windows writes
    out = tmp_path / 'out.sqz'
    arguments = [
        'deep-compressed',
        str(tmp_path / 'weights.net'),
        '--labels',
        str(tmp_path / 'labels.txt'),
        '-o',
        str(out),
        '--dtype',
        'float32',
    ]
    assert import_weights.main(arguments) == 0
    model = file.read(out)
    assert (model.input.height, model.input.resize, model.input.color) == (227, 256, 'bgr')
    assert model.labels[:2] == ('class 0', 'class 1')
    assert model.parameters == 1_248_424
    weight = model.tensors['fire5.expand3x3.weight'].dense()
    np.testing.assert_array_equal(weight, LAYERS['fire5.expand3x3'].weight)
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ('weights', 'labels', 'message'),
    [
        (None, 'x\n' * 1000, 'no.net: No such file'),
        (NET[:-1], 'x\n' * 1000, 'get the file again'),
        (NET, 'x\n' * 999, '999 labels'),
        (NET, 'x\n' * 999 + '\n', '999 labels'),
        (NET, None, 'give a text file'),
    ],
)
def test_command_says_in_one_line_what_is_wrong(
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    weights: bytes | None,
    labels: str | None,
    message: str,
) -> None:
    if weights is not None:
        (tmp_path / 'no.net').write_bytes(weights)
    if labels is not None:
        (tmp_path / 'labels.txt').write_text(labels)
    arguments = [
        'deep-compressed',
        str(tmp_path / 'no.net'),
        '--labels',
        str(tmp_path / 'labels.txt'),
        '-o',
        str(tmp_path / 'out.sqz'),
    ]
    assert import_weights.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert message in error
    assert not (tmp_path / 'out.sqz').exists()


def test_import_and_evaluation_need_no_torch() -> None:
    pytest.importorskip('tqdm')
    blocked = "import sys; sys.modules['torch'] = None; import training.import_weights"
    for code in (blocked, f'{blocked}, training.evaluate'):
        subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


@pytest.mark.slow
@pytest.mark.parametrize('backend', ['openvino', 'onnxruntime'])
def test_the_published_weights_reach_their_accuracy(
    tmp_path: Path, shared: Callable[[str], Path], backend: str
) -> None:
    pytest.importorskip('tqdm')
    from training.evaluation.outcome import evaluate

    layers = deep_compressed.read(shared('squeezenet_v1.0_deep_compressed.net'))
    assert sum(np.count_nonzero(layer.weight) for layer in layers.values()) == 415_921
    labels = import_weights.read_labels(shared('imagenet_labels.txt'), 1000)
    model = deep_compressed.to_model(layers, labels, Identity('imagenet'))
    file.write(model, tmp_path / 'imagenet.sqz')
    loaded = load(tmp_path / 'imagenet.sqz', Runtime(backend))
    outcome = evaluate(loaded, Archive(shared('imagenet_sample_500.zip')))
    assert len(outcome.truth) == 500
    assert outcome.top(1) == pytest.approx(62.8, abs=0.41)
    assert outcome.top(5) == pytest.approx(81.6, abs=0.41)
