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
"""
The int8 of a compressed model file beside its bf16 and fp32, and beside NNCF's int8 of it.

``pip install nncf`` adds that peer; it is calibrated on the first, third, fifth... picture and
all are judged on the others.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout

import numpy as np
from numpy.typing import NDArray

from benchmarks import turns
from benchmarks.report import Goal, Row, summarise
from benchmarks.setting import Setting, say
from sqz_perception.errors import BackendUnavailable
from sqz_perception.inference import classifier, frames, openvino
from sqz_perception.inference.backend import Backend, Runtime
from sqz_perception.model import file
from sqz_perception.model.graph import to_onnx
from sqz_perception.model.int8 import runs_in_int8
from sqz_perception.model.network import Model, self_test_picture
from training.data.archive import Archive, evenly
from training.evaluation.outcome import divergence, truth

PRECISIONS = ('fp32', 'bf16', 'int8')
THREADS = 2
PEER = 'nncf int8'
PICTURES = 2000  # at most, half of them to calibrate the peer
MADE = 100  # pictures to calibrate it with where none are given: its speed is the same
LOADS = 9
READY = Goal(high=400.0)  # ms
RATIOS = {'fp32': Goal(high=0.45), PEER: Goal(high=1.1)}  # of our int8's time to theirs
LOSS = Goal(low=-0.5)  # points of top-1 and top-5 beside the peer's

Pictures = NDArray[np.uint8]  # (N, height, width, 3), BGR


def measure(setting: Setting) -> Iterator[Row]:
    """Return times, their ratios, the time to load and, with pictures, what int8 costs."""
    model = file.read(setting.large)
    if not runs_in_int8(model):
        say(f'int8: left out, {model.name} has none; give one of training.compress as --model')
        return
    pictures, classes = judged_by(setting, model)
    backends = {**ours(model), **peer(model, pictures[::2])}
    if 'int8' not in backends:
        return
    yield from times(model, backends)
    loads = turns.timed(lambda: classifier.load(setting.large, Runtime('openvino')), LOADS)
    yield summarise('load', 'file to ready, int8', 'ms', loads, READY)
    if len(classes):
        yield from accuracy(backends, pictures[1::2], classes[1::2])


def ours(model: Model) -> dict[str, Backend]:
    """Return ``model`` ready in each precision that can be had."""
    found = {}
    for precision in PRECISIONS:
        try:
            found[precision] = classifier.build(model, Runtime('openvino', precision, THREADS))
        except BackendUnavailable as error:
            say(f'int8: {error}')
    return found


def peer(model: Model, pictures: Pictures) -> dict[str, Backend]:
    """Return NNCF's int8 of the network in fp32; nothing where NNCF is not installed."""
    try:
        import nncf
    except ImportError:
        say('int8: without the peer, which pip install nncf would add')
        return {}
    nncf.set_log_level(logging.ERROR)
    say(f'int8: NNCF calibrates on {len(pictures)} pictures')
    with redirect_stdout(sys.stderr):
        quantised = nncf.quantize(
            openvino.core().read_model(to_onnx(model).SerializeToString()),
            nncf.Dataset([picture[None] for picture in pictures]),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            subset_size=len(pictures),
        )
    return {PEER: openvino.compiled(quantised, 'int8', THREADS)}


def times(model: Model, backends: Mapping[str, Backend]) -> Iterator[Row]:
    """Yield the time of each backend, and our int8's in parts of the others'."""
    picture = self_test_picture(0, model.input)
    runs = {
        name: lambda backend=backend: backend.logits(picture) for name, backend in backends.items()
    }
    rows = {
        name: summarise('int8', f'{name}, threads {THREADS}', 'ms', values)
        for name, values in turns.take('int8', runs).items()
    }
    yield from rows.values()
    for name, row in rows.items():
        if name != 'int8':
            share = rows['int8'].median / row.median
            yield Row('ratio', f'int8 / {name}', '', share, goal=RATIOS.get(name))


def judged_by(setting: Setting, model: Model) -> tuple[Pictures, NDArray[np.int64]]:
    """Return pictures and their classes; made-up pictures and no classes where none are given."""
    if setting.images is None:
        made = [self_test_picture(seed, model.input) for seed in range(2 * MADE)]
        return np.stack(made), np.zeros(0, np.int64)
    archive = Archive(setting.images)
    names = evenly(archive.part('val') or archive.names, PICTURES)
    read = {name: archive.picture(name) for name in names}
    kept = {name: frames.fit(p, model.input) for name, p in read.items() if p is not None}
    return np.stack(list(kept.values())), np.array(truth(list(kept), model.labels))


def accuracy(
    backends: Mapping[str, Backend], pictures: Pictures, classes: NDArray[np.int64]
) -> Iterator[Row]:
    """Yield top-1 and top-5 of each backend, and how near it is to fp32's answers."""
    logits = {
        name: np.stack([backend.logits(picture) for picture in pictures])
        for name, backend in backends.items()
    }
    for name, values in logits.items():
        for k in (1, 5):
            note = f'{top(logits["fp32"], classes, k):.2f} in fp32'
            share = top(values, classes, k)
            yield Row('accuracy', f'{name}: top-{k}', '%', share, samples=len(classes), note=note)
        if name != 'fp32':
            same = 100 * (values.argmax(1) == logits['fp32'].argmax(1)).mean()
            yield Row('accuracy', f'{name}: top-1 as in fp32', '%', same, samples=len(classes))
            far = divergence(logits['fp32'], values)
            yield Row('accuracy', f'{name}: divergence', 'nats', far, samples=len(classes))
    if PEER in logits:
        for k in (1, 5):
            gain = top(logits['int8'], classes, k) - top(logits[PEER], classes, k)
            yield Row('accuracy', f'top-{k}: int8 - {PEER}', 'points', gain, goal=LOSS)


def top(logits: NDArray[np.float32], classes: NDArray[np.int64], k: int) -> float:
    """Return the share of pictures, in percent, whose class is among the ``k`` best."""
    best = np.argsort(-logits, axis=1, kind='stable')[:, :k]
    return float(100 * (best == classes[:, None]).any(axis=1).mean())
