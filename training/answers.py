# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""
Keep a large network's answers to the training pictures, for a small one to learn from.

The teacher is any checkpoint of training.train; of several teachers the answers are averaged. It
sees the pictures as training.train changes them in its first epochs, and the small network sees
these epochs over and over: what it learns is the answer to the very picture. To ask the teacher in
every step would take as long as the small network's own training.

A teacher that was trained on the pictures knows their classes by heart. Several, each trained
with another part left out (data.parts, data.leave_out), are asked about that part only.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, fields
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sqz_perception.errors import DataError
from training import command
from training.augmentation import Augmentation, add_options, change, draw, of_options
from training.compiled import compiled
from training.learner import Learner, load
from training.order import part_of
from training.pictures import read_split
from training.precision import autocast, openvino_hint
from training.sources import SOURCES, Source

EXAMPLES = """\
examples:
  python -m training.answers runs/teacher/last.ckpt --data cifar10.zip -o runs/answers.npz
  python -m training.answers first.ckpt second.ckpt --data cifar10.zip -o runs/answers.npz
  python -m training.answers runs/teacher/best.ckpt --data ~/cifar --source cifar10 \\
      --shift 2 --erase 0 --mix 0 --epochs 24 -o runs/answers.npz
  python -m training.answers runs/left-out-*/last.ckpt --data cifar10.zip -o runs/answers.npz

then:
  python -m training.train --config training/recipes/taught.yaml --data.path cifar10.zip
"""
BATCH = {'cpu': 250, 'cuda': 2000}  # pictures
# What was not done to a picture before it could be: answers of then say nothing of it.
EARLIER = {f.name: f.default for f in fields(Augmentation) if f.default is not MISSING}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = command.parser('training.answers', __doc__ or '', EXAMPLES)
    parser.add_argument(
        'teachers', nargs='+', metavar='CKPT', help='checkpoints of training.train'
    )
    parser.add_argument('--data', required=True, metavar='ZIP_OR_FOLDER')
    parser.add_argument('--source', default='archive', choices=SOURCES, help='what --data is')
    parser.add_argument(
        '--epochs', type=command.at_least_one, default=10, help='to keep (default: 10)'
    )
    parser.add_argument(
        '--mirror',
        action='store_true',
        help='ask about the mirror image of each picture too: better answers, in twice the time',
    )
    add_options(parser)
    parser.add_argument('-o', '--output', required=True, type=Path, metavar='OUT.npz')
    return command.run(_answers, parser.parse_args(arguments))


def _answers(options: argparse.Namespace) -> None:
    command.check_folder(options.output)
    source = SOURCES[options.source](options.data)
    teachers = [load(path) for path in options.teachers]
    for teacher in teachers:
        teacher.check_classes(source.labels, options.data)
    size, *others = sorted({teacher.description['size'] for teacher in teachers})
    if others:
        raise DataError(
            f'the teachers are for pictures of {size} and {others[0]} pixels; choose those of one '
            '--data.size'
        )
    how = of_options(options, size, parts_of(teachers))
    images = read_split(source, 'train', size).images
    answers = answer(teachers, images, how, options.epochs, options.mirror)
    write(options.output, answers, source, size, how)
    print(
        f'{options.output}: {len(answers):,} pictures in {options.epochs} epochs, '
        f'{options.output.stat().st_size:,} bytes'
    )


def parts_of(teachers: Sequence[Learner]) -> int:
    """
    Return how many parts the pictures have of which each teacher has left one out.

    Raises DataError where there is no teacher for a part, or not all left one out alike.
    """
    left_out = [teacher.description['left_out'] for teacher in teachers]
    if not any(left_out):
        return 1
    if None in left_out or len({parts for _, parts in left_out}) > 1:
        raise DataError(
            'the teachers have left out different shares of the pictures; choose those of one '
            '--data.parts, one for each --data.leave_out'
        )
    parts = int(left_out[0][1])
    missing = set(range(parts)) - {part for part, _ in left_out}
    if missing:
        raise DataError(
            f'every teacher was trained on part {min(missing)} of {parts}; add one that was '
            f'trained with --data.leave_out {min(missing)}'
        )
    return parts


@torch.inference_mode()
def answer(
    teachers: Sequence[Learner],
    images: Tensor,
    how: Augmentation,
    epochs: int,
    mirror: bool = False,
) -> Tensor:
    """
    Return the teachers' mean logits, float16 (N, epochs, classes), to the changed pictures.

    ``images`` is uint8 (N, S, S, 3) in RGB order. Teachers that have left out a part of them
    answer about that only. With ``mirror`` the mean is over the pictures and their mirror images.
    """
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    count, size = images.shape[:2]
    most = min(count, BATCH[device.type])
    asking = {t: _asking(t, most, device) for t in tqdm(teachers, 'preparing', unit=' teachers')}
    classes = len(teachers[0].description['labels'])
    answers = torch.empty(count, epochs, classes, dtype=torch.float16)
    images = images.to(device)
    everything = torch.arange(count, device=device)
    bar = tqdm(total=epochs * count, desc='asking', unit=' pictures')
    for epoch, part in product(range(epochs), range(how.parts)):
        changes = draw(count, size, how, epoch).to(device)
        own = everything[part_of(everything, how.parts) == part]
        asked = [t for t in teachers if t.description['left_out'] in (None, [part, how.parts])]
        for which in own.split(most):
            batch = change(images[which], which, changes, images)
            seen = [batch, batch.flip(2)] if mirror else [batch]
            logits = [asking[teacher](view) for teacher in asked for view in seen]
            answers[which.cpu(), epoch] = torch.stack(logits).mean(0).half().cpu()
            bar.update(len(which))
    bar.close()
    return answers


def _asking(teacher: Learner, count: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from pictures on ``device``, (N, S, S, 3), N <= count, to logits."""
    if device.type == 'cpu':
        return _on_processor(teacher, count)
    teacher.to(device).eval()
    arithmetic = autocast(device)

    def ask(batch: Tensor) -> Tensor:
        with arithmetic:
            return teacher(batch)

    return ask


def _on_processor(teacher: Learner, count: int) -> Callable[[Tensor], Tensor]:
    size = teacher.description['size']
    pictures = torch.zeros(count, size, size, 3, dtype=torch.uint8)
    run = compiled(teacher, pictures, INFERENCE_PRECISION_HINT=openvino_hint())

    def ask(batch: Tensor) -> Tensor:
        pictures[: len(batch)] = batch  # it is compiled for so many at once
        return run(pictures)[: len(batch)]

    return ask


def write(path: Path, answers: Tensor, source: Source, size: int, how: Augmentation) -> None:
    """Write ``answers`` and which pictures they are for; never half of them."""
    with command.replacing(path) as new, new.open('wb') as output:
        np.savez(output, answers=answers.numpy(), **_about(source, size, how))


def read(path: str, source: Source, size: int, how: Augmentation) -> Tensor:
    """
    Return the answers to the training pictures of ``source``: float16 (N, epochs, classes).

    Raises DataError where they are for others, or for pictures that are changed in another way.
    """
    about = _about(source, size, how)
    try:
        with np.load(path, allow_pickle=False) as found:
            answers = torch.from_numpy(found['answers'])
            known = {key: found[key].item() if key in found else EARLIER[key] for key in about}
    except FileNotFoundError as error:
        raise DataError(f'{path}: no such file; training.answers writes it') from error
    except Exception as error:  # whatever zipfile and numpy do with other bytes
        raise DataError(f'{path} holds no answers of training.answers; make them anew') from error
    for key, wanted in about.items():
        if known[key] != wanted:
            raise DataError(
                f'{path} is for other {key} ({known[key]}) than the recipe has ({wanted}); '
                'ask the teacher again with training.answers'
            )
    count, classes = len(source.split('train')), len(source.labels)
    shape = answers.shape
    fits = len(shape) == 3 and shape[0] == count and shape[1] > 0 and shape[2] == classes
    if not fits or answers.dtype != torch.float16:
        raise DataError(f'{path} holds no answers of training.answers; make them anew')
    return answers


def _about(source: Source, size: int, how: Augmentation) -> dict[str, Any]:
    """Return what answers depend on, beside the teachers."""
    listed = repr((source.labels, list(source.split('train'))))
    pictures = hashlib.sha256(listed.encode()).hexdigest()[:16]
    return {'pictures': pictures, 'size': size, **asdict(how)}


if __name__ == '__main__':
    sys.exit(main())
