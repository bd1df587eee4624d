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
A model run by NumPy alone, slowly and plainly: where a model file's self-test comes from.

No runtime that the self-test is to judge has a part in it, and it sees the weights as the file
stores them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sqz_perception.model.int8 import Levels, kept_levels
from sqz_perception.model.network import (
    IMAGE,
    Model,
    Node,
    SelfTest,
    Shape,
    self_test_picture,
    trace,
)

SELF_TEST_SEEDS = (1, 2, 3, 4)
SELF_TEST_CLASSES = 5  # the best ones of each picture
SELF_TEST_DECIMALS = 4

Array = NDArray[np.float32]


def logits(model: Model, picture: NDArray[np.uint8], *, int8: bool = False) -> Array:
    """
    Return the logits, (classes,), of ``picture``, uint8 (height, width, 3) in BGR.

    ``int8``: with the values that int8 arithmetic keeps of those between the layers. The sums are
    exact in both: a runtime that adds levels gets the same but for the last bits.
    """
    shapes = trace(model)
    kept = kept_levels(model) if int8 else {}
    values: dict[str, Array] = {}

    def give(name: str, value: Array) -> None:
        values[name] = _rounded(value, kept[name]) if name in kept else value

    give(IMAGE, preprocess(model, picture))
    for node in model.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.op == 'conv':
            weight, bias = (model.tensors[name].dense() for name in (node.weight, node.bias))
            give(node.name, _conv(node, inputs[0], weight, bias))
        elif node.op == 'max_pool':
            give(node.name, _max_pool(node, inputs[0], shapes[node.name]))
        else:
            give(node.name, _PLAIN[node.op](inputs))
    return values[model.nodes[-1].name].reshape(-1)


def preprocess(model: Model, picture: NDArray[np.uint8]) -> Array:
    """Return the picture as the first convolution sees it: float32 (3, height, width)."""
    spec = model.input
    ordered = picture if spec.color == 'bgr' else picture[:, :, ::-1]
    mean, scale = np.array(spec.mean, np.float32), np.array(spec.scale, np.float32)
    return ((ordered.astype(np.float32) - mean) * scale).transpose(2, 0, 1)


def self_test(model: Model) -> SelfTest:
    """Return the best classes of a few made-up pictures, with their logits, of int8 too."""
    classes, answers, of_int8 = [], [], []
    for seed in SELF_TEST_SEEDS:
        picture = self_test_picture(seed, model.input)
        answer = logits(model, picture)
        best = np.argsort(-answer, kind='stable')[:SELF_TEST_CLASSES]
        classes.append(tuple(int(i) for i in best))
        answers.append(_short(answer[best]))
        if model.ranges:
            of_int8.append(_short(logits(model, picture, int8=True)[best]))
    return SelfTest(SELF_TEST_SEEDS, tuple(classes), tuple(answers), tuple(of_int8))


def _short(answers: Array) -> tuple[float, ...]:
    return tuple(round(float(answer), SELF_TEST_DECIMALS) for answer in answers)


def _rounded(values: Array, levels: Levels) -> Array:
    step = np.float32(levels.step)
    return np.clip(np.rint(values / step), levels.lowest, levels.highest) * step


def _conv(node: Node, x: Array, weight: Array, bias: Array) -> Array:
    """(in, H, W) -> (out, H', W'), as one product of matrices."""
    out, _, *kernel = weight.shape
    padded = np.pad(x, ((0, 0), (node.pad, node.pad), (node.pad, node.pad)))
    windows = sliding_window_view(padded, kernel, axis=(1, 2))
    windows = windows[:, :: node.stride, :: node.stride]  # (in, H', W', kh, kw)
    rows, columns = windows.shape[1:3]
    patches = windows.transpose(0, 3, 4, 1, 2).reshape(-1, rows * columns)  # (in*kh*kw, H'*W')
    result = weight.reshape(out, -1) @ patches + bias[:, None]
    return result.reshape(out, rows, columns)


def _max_pool(node: Node, x: Array, shape: Shape) -> Array:
    """(C, H, W) -> ``shape``; a window sees minus infinity where it hangs over the edge."""
    reach = [(n - 1) * node.stride + node.kernel for n in shape[1:]]
    after = [max(0, r - node.pad - n) for r, n in zip(reach, x.shape[1:], strict=True)]
    pad = ((0, 0), *((node.pad, n) for n in after))
    padded = np.pad(x, pad, constant_values=-np.inf)
    windows = sliding_window_view(padded, (node.kernel, node.kernel), axis=(1, 2))
    windows = windows[:, :: node.stride, :: node.stride][:, : shape[1], : shape[2]]
    return windows.max(axis=(3, 4))


_PLAIN: dict[str, Callable[[list[Array]], Array]] = {
    'relu': lambda inputs: np.maximum(inputs[0], 0),
    'global_average_pool': lambda inputs: inputs[0].mean(axis=(1, 2), keepdims=True),
    'concat': lambda inputs: np.concatenate(inputs),
    'add': lambda inputs: np.sum(inputs, axis=0),
}
