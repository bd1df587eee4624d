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
The networks that training builds: the SqueezeNet family and the baselines beside it, by name.

As a command it prints what a network costs: parameters, multiply-adds and bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from training.errors import ArchitectureInvalid
from training.networks.architecture import PRESETS, Architecture
from training.networks.baselines import BASELINES
from training.networks.cost import MEBI, measure
from training.networks.models import SqueezeNet, build, names
from training.reporting import command

EXAMPLES = """\
examples:
  python -m training.models squeezenet1_0 alexnet
  python -m training.models                                  # all of them
  python -m training.models squeezenet1_0 --squeeze-ratio 0.75 --bypass complex
  python -m training.models squeezenet_small resnet50_small --classes 100 --csv
"""
KINDS = {'int': int, 'float': float, 'str': str}
CHANGES = {f.name: KINDS[f.type] for f in fields(Architecture) if f.type in KINDS}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.models', __doc__ or '', EXAMPLES)
    parser.add_argument('names', nargs='*', metavar='NAME', help=f'of {", ".join(names())}')
    parser.add_argument(
        '--size', type=command.at_least_one, help='height and width of the picture, pixels'
    )
    parser.add_argument('--csv', action='store_true', help='print comma-separated values')
    change = parser.add_argument_group('other metaparameters, for the SqueezeNets')
    for name, kind in CHANGES.items():
        change.add_argument(
            f'--{name.replace("_", "-")}', type=kind, metavar=kind.__name__.upper()
        )
    return command.run(_print_costs, parser.parse_args(arguments))


def _print_costs(options: argparse.Namespace) -> None:
    chosen = {name: value for name in CHANGES if (value := getattr(options, name)) is not None}
    rows = [_row(name, chosen, options.size) for name in options.names or names()]
    if options.csv:
        command.print_csv(rows, sys.stdout)
        return
    wide = max(len(row['network']) for row in rows)
    heads = f'{"input":>9} {"parameters":>12} {"MACs":>14} {"fp32":>11} {"fp16":>11}'
    print(f'{"network":{wide}} {heads}')
    for row in rows:
        side = f'{row["size"]}x{row["size"]}'
        sizes = ' '.join(f'{row[kind]:>7.2f} MiB' for kind in ('fp32', 'fp16'))
        cost = f'{side:>9} {row["parameters"]:>12,} {row["macs"]:>14,} {sizes}'
        print(f'{row["network"]:{wide}} {cost}')


def _row(name: str, chosen: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    others = sorted(set(chosen) - {'classes'})
    if name in PRESETS:
        architecture = replace(PRESETS[name], **chosen)
        net: nn.Module = SqueezeNet(architecture)
        size = size or architecture.size
    else:
        net = build(name, chosen.get('classes'))
        size = size or BASELINES[name].size
        if others:
            raise ArchitectureInvalid(f'{name} is no SqueezeNet and has no {others[0]}')
    try:
        cost = measure(net, size)
    except RuntimeError as error:  # a kernel or a pool is larger than what reaches it
        raise ArchitectureInvalid(
            f'{name} leaves nothing of pictures of {size}x{size} pixels; raise --size'
        ) from error
    return {
        'network': name,
        'size': size,
        'parameters': cost.parameters,
        'macs': cost.macs,
        'fp32': 4 * cost.parameters / MEBI,
        'fp16': 2 * cost.parameters / MEBI,
    }


if __name__ == '__main__':
    sys.exit(main())
