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
The metadata of a model file: canonical JSON <-> everything but the tensors' values.

Canonical means that one model has one spelling (sorted keys, no white space, ASCII, numbers as
Python's ``repr``), so the identity can be a hash of it. Anything else is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np

from sqz_perception.errors import ModelInvalid
from sqz_perception.model.limits import (
    MAX_INPUTS,
    MAX_KERNEL,
    MAX_NODES,
    MAX_SIDE,
)
from sqz_perception.model.network import InputSpec, Model, Node, SelfTest, Tensor

DTYPES = {name: np.dtype(name) for name in ('float32', 'float16', 'int8', 'uint8')}
NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}')

MAX_RELEASE = 2**31 - 1
MAX_TEXT = 4096  # characters
MAX_LABEL = 256  # characters
MAX_CLASSES = 65_535  # vision_msgs numbers classes with 16 bits
MAX_TENSOR_VALUES = 2**28
MAX_SELF_TESTS = 64
MAX_CODEBOOK = 256  # what a uint8 can point at

T = TypeVar('T')


@dataclass(frozen=True)
class TensorInfo:
    """A tensor without its values: enough to know how many bytes it must have."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    step_shape: tuple[int, ...] | None = None
    codebook: int = 0  # entries

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def steps(self) -> int:
        return 0 if self.step_shape is None else math.prod(self.step_shape)

    @property
    def plain_bytes(self) -> int:
        return 4 * (self.steps + self.codebook) + self.dtype.itemsize * self.size


@dataclass(frozen=True)
class Metadata:
    """What the JSON holds, checked."""

    fields: dict[str, Any]
    tensors: tuple[TensorInfo, ...]

    def model(self, tensors: Mapping[str, Tensor]) -> Model:
        return Model(tensors=tensors, **self.fields)

    def outline(self) -> Model:
        """Return the model with tensors of the right shapes that take no memory."""
        return self.model(
            {
                info.name: Tensor(info.name, np.broadcast_to(np.zeros((), info.dtype), info.shape))
                for info in self.tensors
            }
        )


def encode(model: Model) -> bytes:
    """Return the canonical JSON of ``model``."""
    document = {
        'name': model.name,
        'release': model.release,
        'licence': model.licence,
        'description': model.description,
        'input': _input_json(model.input),
        'nodes': [_node_json(node) for node in model.nodes],
        'tensors': [_tensor_json(tensor) for tensor in model.tensors.values()],
        'labels': list(model.labels),
        'self_test': _self_test_json(model.self_test),
    }
    if model.ranges:
        document['ranges'] = {name: float(reach) for name, reach in model.ranges.items()}
    try:
        return canonical_json(document)
    except (TypeError, ValueError) as error:
        raise ModelInvalid(f'{model.name}: not to be written as JSON: {error}') from error


def decode(data: bytes) -> Metadata:
    """Return the checked content of canonical JSON. Raises ModelInvalid."""
    try:
        document = json.loads(data.decode('ascii'))
        canonical = canonical_json(document)
    except (ValueError, RecursionError) as error:
        raise ModelInvalid(f'the metadata is not JSON: {str(error)[:100]}') from error
    if canonical != data:
        raise ModelInvalid('the metadata is not in canonical form')
    ranges = document.pop('ranges', None) if isinstance(document, dict) else None
    top = _object(document, 'the metadata', _TOP)
    infos = _unique(_list(top['tensors'], 'tensors', _tensor_info, 2 * MAX_NODES))
    labels = check_labels(top['labels'])
    reaches = _ranges(ranges)
    checked = {
        'name': _name(top['name'], 'name'),
        'release': _integer(top['release'], 'release', 1, MAX_RELEASE),
        'licence': _text(top['licence'], 'licence', MAX_TEXT),
        'description': _text(top['description'], 'description', MAX_TEXT),
        'input': _input(top['input']),
        'nodes': _list(top['nodes'], 'nodes', _node, MAX_NODES),
        'labels': labels,
        'self_test': _self_test(top['self_test'], len(labels), int8=bool(reaches)),
        'ranges': reaches,
    }
    return Metadata(checked, infos)


def check_labels(labels: object) -> tuple[str, ...]:
    """Return a list of labels as it is. Raises ModelInvalid for what no model file can hold."""
    return _distinct(_list(labels, 'labels', _label, MAX_CLASSES))


_TOP: tuple[str, ...] = (
    *('name', 'release', 'licence', 'description', 'input', 'nodes', 'tensors', 'labels'),
    'self_test',
)
_NODE_SIZES = {'stride': (1, MAX_SIDE), 'pad': (0, MAX_SIDE), 'kernel': (1, MAX_KERNEL)}
_NODE_DEFAULTS = {
    f.name: f.default for f in fields(Node) if f.name not in ('op', 'name', 'inputs')
}


def canonical_json(document: object) -> bytes:
    """Return the one spelling of a JSON document."""
    text = json.dumps(document, sort_keys=True, separators=(',', ':'), allow_nan=False)
    return text.encode('ascii')


def _input_json(spec: InputSpec) -> dict[str, Any]:
    numbers = {key: [float(v) for v in getattr(spec, key)] for key in ('mean', 'scale')}
    return {**asdict(spec), **numbers}


def _self_test_json(test: SelfTest) -> dict[str, Any]:
    """``int8`` is spelt out only where there is any."""
    return {key: value for key, value in asdict(test).items() if value or key != 'int8'}


def _node_json(node: Node) -> list[Any]:
    """[op, name, inputs] and, where something differs from the default, an object with that."""
    extra = {k: getattr(node, k) for k, v in _NODE_DEFAULTS.items() if getattr(node, k) != v}
    return [node.op, node.name, list(node.inputs), *([extra] if extra else [])]


def _tensor_json(tensor: Tensor) -> list[Any]:
    """
    [name, dtype, shape], and what else it takes to know the number of bytes.

    For levels 'tensor' or 'channel', what one step is for; for codes the codebook's entries.
    """
    row = [tensor.name, tensor.values.dtype.name, list(tensor.values.shape)]
    if tensor.codebook is not None:
        return [*row, len(tensor.codebook)]
    if tensor.step is None:
        return row
    return [*row, 'channel' if tensor.step.ndim else 'tensor']


def _node(value: object, what: str) -> Node:
    row = _row(value, what, 3, 4)
    extra = row[3] if len(row) == 4 else {}
    if not isinstance(extra, dict) or not set(extra) <= set(_NODE_DEFAULTS):
        raise ModelInvalid(f'{what} has attributes other than {", ".join(_NODE_DEFAULTS)}')
    if any(extra[key] == _NODE_DEFAULTS[key] for key in extra):
        raise ModelInvalid(f'{what} spells out a default')
    if not isinstance(extra.get('ceil', False), bool):
        raise ModelInvalid(f'{what}: ceil is true or false')
    sizes = {
        key: _integer(size, f'{what} {key}', *_NODE_SIZES[key])
        for key, size in extra.items()
        if key != 'ceil'
    }
    return Node(
        op=_name(row[0], f'{what} operation'),
        name=_name(row[1], f'{what} name'),
        inputs=_list(row[2], f'{what} inputs', _name, MAX_INPUTS),
        ceil=extra.get('ceil', False),
        **sizes,
    )


def _tensor_info(value: object, what: str) -> TensorInfo:
    row = _row(value, what, 3, 4)
    name = _name(row[0], f'{what} name')
    dtype = DTYPES.get(row[1]) if isinstance(row[1], str) else None
    if dtype is None:
        raise ModelInvalid(f'tensor {name!r} is of the unknown type {str(row[1])[:40]!r}')
    shape = _list(row[2], f'{name!r} shape', _dimension, 4)
    if not shape or math.prod(shape) > MAX_TENSOR_VALUES:
        raise ModelInvalid(f'tensor {name!r} has the impossible shape {shape}')
    if (dtype.kind in 'iu') != (len(row) == 4):
        raise ModelInvalid(
            f'tensor {name!r}: int8 levels have a step, uint8 codes have a codebook, '
            'other values have neither'
        )
    if len(row) == 3:
        return TensorInfo(name, dtype, shape)
    if dtype == np.uint8:
        entries = _integer(row[3], f'tensor {name!r} codebook', 1, MAX_CODEBOOK)
        return TensorInfo(name, dtype, shape, codebook=entries)
    if row[3] not in ('tensor', 'channel'):
        raise ModelInvalid(f'tensor {name!r}: a step is for the tensor or for each channel')
    return TensorInfo(name, dtype, shape, shape[:1] if row[3] == 'channel' else ())


def _input(value: object) -> InputSpec:
    keys = tuple(f.name for f in fields(InputSpec))
    spec = _object(value, 'input', keys)
    if spec['color'] not in ('bgr', 'rgb'):
        raise ModelInvalid("input color is neither 'bgr' nor 'rgb'")
    height, width, resize = (
        _integer(spec[key], f'input {key}', 1, MAX_SIDE) for key in ('height', 'width', 'resize')
    )
    if resize < max(height, width):
        raise ModelInvalid(f'input resize {resize} is smaller than its crop {height}x{width}')
    mean, scale = (_list(spec[key], f'input {key}', _number, 3) for key in ('mean', 'scale'))
    if len(mean) != 3 or len(scale) != 3:
        raise ModelInvalid('input mean and scale have three values each')
    return InputSpec(height, width, resize, spec['color'], mean, scale)


def _self_test(value: object, classes: int, *, int8: bool) -> SelfTest:
    """Return the checked questions; ``int8``: they need the answers of int8 arithmetic too."""
    asked = isinstance(value, dict) and value.get('seeds')
    answers = ('logits', 'int8') if int8 and asked else ('logits',)
    test = _object(value, 'self_test', ('seeds', 'classes', *answers))

    def seed(v: object, what: str) -> int:
        return _integer(v, what, 0, 2**63 - 1)

    def indices(v: object, what: str) -> tuple[int, ...]:
        return _list(v, what, lambda i, w: _integer(i, w, 0, classes - 1), MAX_CLASSES)

    def logits(v: object, what: str) -> tuple[float, ...]:
        return _list(v, what, _number, MAX_CLASSES)

    checked = SelfTest(
        _list(test['seeds'], 'self_test seeds', seed, MAX_SELF_TESTS),
        _list(test['classes'], 'self_test classes', indices, MAX_SELF_TESTS),
        *(_list(test[key], f'self_test {key}', logits, MAX_SELF_TESTS) for key in answers),
    )
    lengths = [len(row) for row in checked.classes]
    given = [[len(row) for row in getattr(checked, key)] for key in answers]
    if any(each != lengths for each in given) or len(lengths) != len(checked.seeds):
        raise ModelInvalid('the self-test has not one answer for each question')
    if any(length == 0 for length in lengths):
        raise ModelInvalid('the self-test has a question without an answer')
    return checked


def _ranges(value: object) -> dict[str, float]:
    """Return the checked ranges; None stands for a model without, an empty object for nothing."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not 1 <= len(value) <= MAX_NODES:
        raise ModelInvalid(f'ranges are not an object of 1 to {MAX_NODES} names')
    checked = {_name(key, 'ranges key'): _number(v, f'range {key!r}') for key, v in value.items()}
    if min(checked.values()) <= 0:
        raise ModelInvalid('a range is not positive')
    return checked


def _unique(infos: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
    if len({info.name for info in infos}) != len(infos):
        raise ModelInvalid('two tensors have the same name')
    return infos


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for number, label in enumerate(labels):
        if first.setdefault(label, number) != number:
            raise ModelInvalid(
                f'the classes {first[label]} and {number} both have the label {label!r}; '
                'give each class a label of its own'
            )
    return labels


def _object(value: object, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise ModelInvalid(
            f'{what} is not an object with exactly the keys {", ".join(keys)[:200]}'
        )
    return value


def _row(value: object, what: str, shortest: int, longest: int) -> list[Any]:
    if not isinstance(value, list) or not shortest <= len(value) <= longest:
        raise ModelInvalid(f'{what} is not a list of {shortest} to {longest} values')
    return value


def _list(value: object, what: str, item: Callable[[object, str], T], most: int) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise ModelInvalid(f'{what} is not a list of at most {most} values')
    return tuple(item(v, f'{what}[{i}]') for i, v in enumerate(value))


def _integer(value: object, what: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ModelInvalid(f'{what} is not a whole number from {low} to {high}')
    return value


def _dimension(value: object, what: str) -> int:
    return _integer(value, what, 1, MAX_TENSOR_VALUES)


def _number(value: object, what: str) -> float:
    if not isinstance(value, float) or not math.isfinite(value):
        raise ModelInvalid(f'{what} is not a finite number with a decimal point')
    return value


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ModelInvalid(f'{what} is not a name of letters, digits and _.-')
    return value


def _text(value: object, what: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        shown = f' {value[:40]!a}' if isinstance(value, str) else ''
        raise ModelInvalid(f'{what}{shown} is not a printable text of at most {most} characters')
    return value


def _label(value: object, what: str) -> str:
    label = _text(value, what, MAX_LABEL)
    if not label:
        raise ModelInvalid(f'{what} is empty')
    return label
