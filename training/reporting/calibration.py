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
"""What the commands that compress share: the model, and the pictures that it is calibrated on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from sqz_perception.inference import frames
from sqz_perception.inference.options import count
from sqz_perception.model.network import Model
from training.data.archive import Archive, evenly
from training.errors import DataError
from training.reporting import command

PICTURES = 250
FEWEST = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Ask for the model, the file to write, the pictures and the release."""
    parser.add_argument('model', metavar='IN.sqz')
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='OUT.sqz')
    parser.add_argument(
        '--calibration',
        required=True,
        metavar='ZIP_OR_FOLDER',
        help='pictures like those that the robot will see; if it has train/ and val/, train/',
    )
    parser.add_argument(
        '--pictures',
        type=count,
        default=PICTURES,
        metavar='N',
        help='to calibrate on, taken evenly (default: %(default)s); 250 of 227x227 take 4 GB',
    )
    command.add_release(parser)


def read(options: argparse.Namespace) -> tuple[Model, tuple[str, ...], NDArray[np.uint8]]:
    """
    Return the model under its new release, and its pictures with their names in the archive.

    All that can be refused before the work is done is refused here. From here on PyTorch gives
    the same result each time.
    """
    model = command.read(options)
    archive = Archive(options.calibration)
    names = chosen(archive, options.pictures)
    torch.use_deterministic_algorithms(True)
    return model, names, calibration_pictures(archive, names, model)


def calibration_pictures(
    archive: Archive, names: Sequence[str], model: Model
) -> NDArray[np.uint8]:
    """
    Return the pictures ``names`` as the network sees them, uint8 (N, height, width, 3) in BGR.

    Raises DataError for a picture that can't be decoded.
    """
    progress = tqdm(names, 'reading', unit=' pictures', disable=None)
    return np.stack([frames.fit(archive.picture(name), model.input) for name in progress])


def chosen(archive: Archive, most: int) -> tuple[str, ...]:
    """Return ``most`` pictures, taken evenly; of an archive with train/ and val/ from train/."""
    names = archive.names
    if archive.part('train') and archive.part('val'):
        names = archive.part('train')
    if min(len(names), most) < FEWEST:
        raise DataError(
            f'{archive.path}: {min(len(names), most)} pictures to calibrate on; at least {FEWEST} '
            'are needed'
        )
    return evenly(names, most)
