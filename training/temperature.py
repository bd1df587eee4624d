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
Make a model's scores say how often it is right, by one factor for all of its logits.

A network that was taught with smoothed classes says less than it knows, one that knows its
pictures by heart says more. The factor of least loss on pictures with known classes, which the
network was not trained on, is folded into the last layer: answers, their order and the time they
take stay the same, and so does each weight's level in int8. Of a folder or zip with train/ and
val/ only val/ is used.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid
from sqz_perception.inference import classifier
from sqz_perception.inference.options import runtime
from sqz_perception.model import steps
from sqz_perception.model.network import Model, Node, Tensor
from training.data.archive import Archive
from training.errors import DataError
from training.evaluation.outcome import Outcome, add_options, evaluate
from training.evaluation.reliability import calibration_error, loss
from training.model_files.reference import self_test
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.temperature mine.sqz --images cifar10.zip -o calibrated.sqz
  python -m training.temperature models/cifar10.sqz --images photos/ -o site.sqz --release 11
"""
FEWEST = 100  # pictures: one number is found with few, but not with a handful
MOST = 4 * steps.PER_OCTAVE  # the factor is from 1/16 to 16
PASSES_ON = ('relu', 'max_pool', 'global_average_pool')  # a factor of what they take


def best_factor(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> int:
    """
    Return the factor for ``logits`` (N, classes) that has the least loss, a code of ``steps``.

    Temperature scaling as in Guo et al., On Calibration of Modern Neural Networks, 2017; the
    factor is 1 / temperature. It is one of eight to an octave, so that int8's steps stay on their
    grid and the file as small as it was: at most 4.5 % from the best, where the loss is flat.
    Raises DataError where the pictures can't tell.
    """
    if len(truth) < FEWEST:
        raise DataError(f'{len(truth)} pictures to find one factor with; give {FEWEST} or more')
    codes = range(-MOST, MOST + 1)
    losses = [loss(float(steps.step_of(code)) * logits, truth) for code in codes]
    best = codes[int(np.argmin(losses))]
    if best == MOST:
        raise DataError(
            f'too few of the {len(truth):,} answers are wrong to tell how sure the others may be; '
            'take pictures that the network was not trained on'
        )
    if best == -MOST:
        raise DataError('the answers are no better than chance; check the classes of the pictures')
    return best


def scaled(model: Model, code: int) -> Model:
    """
    Return ``model`` with its logits times the step of ``code``, and with a new self-test.

    Raises ModelInvalid where the last layers are not a convolution and what passes a factor on,
    or where its weights become too large for their type.
    """
    last = last_convolution(model)
    tensors = {name: _scaled(model.tensors[name], code) for name in (last.weight, last.bias)}
    if not all(np.isfinite(tensor.dense()).all() for tensor in tensors.values()):
        raise ModelInvalid(
            f'{last.name} would have weights that {tensors[last.weight].values.dtype} can not '
            'hold; export the model with --dtype float32'
        )
    changed = replace(model, tensors={**model.tensors, **tensors})
    return replace(changed, self_test=self_test(changed))


def last_convolution(model: Model) -> Node:
    """Return the node whose outputs the logits are made of. Raises ModelInvalid."""
    nodes = {node.name: node for node in model.nodes}
    node = model.nodes[-1]
    while node.op in PASSES_ON:
        node = nodes[node.inputs[0]]
    if node.op != 'conv':
        raise ModelInvalid(
            f'{model.name} makes its logits in {node.name!r} ({node.op}); only those of a '
            'convolution can be scaled'
        )
    return node


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.temperature', __doc__ or '', EXAMPLES)
    parser.add_argument('model', metavar='IN.sqz')
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='OUT.sqz')
    command.add_release(parser)
    add_options(parser)
    return command.run(_scale, parser.parse_args(arguments))


def _scale(options: argparse.Namespace) -> None:
    model = command.read(options)
    last_convolution(model)  # refused before the work is done
    archive = Archive(options.images)
    outcome = evaluate(classifier.load(options.model, runtime(options)), archive, options.limit)
    code = best_factor(outcome.logits, outcome.truth)
    factor = float(steps.step_of(code))
    print(f'logits times {factor:.3f} (temperature {1 / factor:.3f})')
    print(f'top-1 {outcome.top(1):.2f} % on {len(outcome.truth):,} pictures, before and after')
    print(f'{"":17} {"before":>8} {"after":>8}')
    before, after = _figures(outcome, 1.0), _figures(outcome, factor)
    for name, value in before.items():
        print(f'{name:17} {value:8.4f} {after[name]:8.4f}')
    command.save(scaled(model, code), options.output)


def _figures(outcome: Outcome, factor: float) -> dict[str, float]:
    then = replace(outcome, logits=factor * outcome.logits)
    return {
        'score_mean': float(then.scores.mean()),
        'calibration_error': calibration_error(then.scores, then.right),
        'loss': loss(then.logits, then.truth),
    }


def _scaled(tensor: Tensor, code: int) -> Tensor:
    """Return ``tensor`` with its weights times the step of ``code``; levels and codes stay."""
    factor = steps.step_of(code)
    if tensor.codebook is not None:
        return replace(tensor, codebook=tensor.codebook * factor)
    if tensor.step is None:
        values = tensor.values.astype(np.float32) * factor
        with np.errstate(over='ignore'):  # refused by ``scaled``
            return replace(tensor, values=values.astype(tensor.values.dtype))
    known = steps.code_of(tensor.step)
    return replace(
        tensor, step=tensor.step * factor if known is None else steps.step_of(known + code)
    )


if __name__ == '__main__':
    sys.exit(main())
