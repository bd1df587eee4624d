# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep a large network's answers to the training pictures, for a small one to learn from.

The teacher is any checkpoint of training.train; of several teachers the answers are averaged. It
sees each picture as training.train moves it: in the middle, shifted to eight sides, and all of
these mirrored. To ask it in every step would take as long as the small network's own training.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sqz_perception.errors import DataError
from training import command
from training.augmentation import Moves, move, views
from training.learner import Learner, load
from training.pictures import read_split
from training.sources import SOURCES, Source

EXAMPLES = """\
examples:
  python -m training.answers runs/teacher/best.ckpt --data cifar10.zip -o runs/answers.npz
  python -m training.answers first.ckpt second.ckpt --data cifar10.zip -o runs/answers.npz
  python -m training.answers runs/teacher/best.ckpt --data ~/cifar --source cifar10 \\
      --shift 2 -o runs/answers.npz

then:
  python -m training.train --config training/recipes/cifar10.yaml --data.path cifar10.zip \\
      --data.answers runs/answers.npz
"""
BATCH = 250  # pictures


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.answers', __doc__ or '', EXAMPLES)
    parser.add_argument(
        'teachers', nargs='+', metavar='CKPT', help='checkpoints of training.train'
    )
    parser.add_argument('--data', required=True, metavar='ZIP_OR_FOLDER')
    parser.add_argument('--source', default='archive', choices=SOURCES, help='what --data is')
    parser.add_argument(
        '--shift', type=int, default=4, help="the recipe's data.shift, pixels (default: 4)"
    )
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='OUT.npz')
    return command.run(_answers, parser.parse_args(arguments))


def _answers(options: argparse.Namespace) -> None:
    command.check_folder(options.output)
    source = SOURCES[options.source](options.data)
    teachers = [load(path) for path in options.teachers]
    sizes = {teacher.description['size'] for teacher in teachers}
    for path, teacher in zip(options.teachers, teachers, strict=True):
        if tuple(teacher.description['labels']) != source.labels or len(sizes) > 1:
            raise DataError(
                f'{path} was trained for other classes than those of {options.data}, or for '
                'another size than the other teachers; choose teachers of these pictures'
            )
    (size,) = sizes
    if not 0 <= options.shift < size:
        raise DataError(f'--shift {options.shift} must be at least 0 and less than {size} pixels')
    images = read_split(source, 'train', size).images
    answers = answer(teachers, images, options.shift)
    write(options.output, answers, source, size, options.shift)
    print(
        f'{options.output}: {len(answers):,} pictures, {answers.shape[1]} views of each, '
        f'{options.output.stat().st_size:,} bytes'
    )


@torch.inference_mode()
def answer(teachers: Sequence[Learner], images: Tensor, shift: int) -> Tensor:
    """
    Return the teachers' mean logits, float16 (N, views, classes), to ``views(shift)``.

    ``images`` is uint8 (N, S, S, 3) in RGB order.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    for teacher in teachers:
        teacher.to(device).eval()
    seen = views(shift)
    classes = len(teachers[0].description['labels'])
    answers = torch.empty(len(images), len(seen), classes, dtype=torch.float16)
    starts = range(0, len(images), BATCH)
    for start in tqdm(starts, 'asking', unit_scale=BATCH, unit=' pictures', disable=None):
        some = images[start : start + BATCH]
        for i, (mirrored, up, left) in enumerate(seen):
            n = len(some)
            moves = Moves(torch.full((n,), up), torch.full((n,), left), torch.full((n,), mirrored))
            batch = move(some, moves).to(device)
            with torch.autocast(device, torch.bfloat16):
                logits = torch.stack([teacher(batch) for teacher in teachers]).mean(0)
            answers[start : start + BATCH, i] = logits.cpu()
    return answers


def write(path: Path, answers: Tensor, source: Source, size: int, shift: int) -> None:
    """Write ``answers`` and which pictures they are for; never half of them."""
    with command.replacing(path) as new, new.open('wb') as output:
        np.savez(output, answers=answers.numpy(), **_about(source, size, shift))


def read(path: str, source: Source, size: int, shift: int) -> Tensor:
    """Return the answers to the training pictures of ``source``. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as found:
            answers = torch.from_numpy(found['answers'])
            about = {key: found[key].item() for key in _about(source, size, shift)}
    except FileNotFoundError as error:
        raise DataError(f'{path}: no such file; training.answers writes it') from error
    except Exception as error:  # whatever zipfile and numpy do with other bytes
        raise DataError(f'{path} holds no answers of training.answers; make them anew') from error
    for key, wanted in _about(source, size, shift).items():
        if about[key] != wanted:
            raise DataError(
                f'{path} is for other {key} ({about[key]}) than the recipe has ({wanted}); '
                'ask the teacher again with training.answers'
            )
    expected = (len(source.split('train')), len(views(shift)), len(source.labels))
    if answers.shape != expected or answers.dtype != torch.float16:
        raise DataError(f'{path} holds no answers of training.answers; make them anew')
    return answers


def _about(source: Source, size: int, shift: int) -> dict[str, Any]:
    """Return what answers depend on, beside the teachers."""
    listed = repr((source.labels, list(source.split('train'))))
    pictures = hashlib.sha256(listed.encode()).hexdigest()[:16]
    return {'pictures': pictures, 'size': size, 'shift': shift}


if __name__ == '__main__':
    sys.exit(main())
