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
The training loop beside torchvision's reference recipe: the same network, pictures and machine.

Ours is what training.train runs: pictures in memory, augmented batch by batch, bf16 where the
processor has it, channels last. The peer is written in the manner of torchvision's
references/classification: JPEG files in folders, each decoded and augmented by PIL in one of two
workers, fp32. They take turns.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks.report import Goal, Row
from benchmarks.setting import Setting, say
from training.data.archive import Archive, evenly
from training.data.module import PictureData
from training.fitting.learner import Learner
from training.fitting.precision import of_trainer
from training.networks.architecture import PRESETS
from training.networks.models import SqueezeNet

ARCHITECTURE = PRESETS['squeezenet_small']
SIZE = ARCHITECTURE.size
BATCH = 128
WARM_UP = 6  # steps of each turn that do not count: more than the peer's workers have ready
STEPS = 20  # of each turn that count
PICTURES = 6400  # at most
QUALITY = 90  # of JPEG pictures that are made where none are given
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10, 0 to 1
WORKERS = 2
RATIO = Goal(low=2.0)


def measure(setting: Setting) -> Iterator[Row]:
    """Give both their turns; return pictures per second and their ratio."""
    folder = setting.folder / 'pictures'
    count = write_pictures(setting, folder)
    begun = time.perf_counter()
    ours = Ours(folder)
    read = time.perf_counter() - begun
    peer = Peer(folder / 'train')
    rates: dict[str, list[float]] = {'ours': [], 'peer': []}
    for number in range(setting.rounds):
        say(f'training_loop: turn {number + 1} of {setting.rounds}')
        rates['ours'].append(ours.turn())
        rates['peer'].append(peer.turn())
    names = {'ours': 'ours', 'peer': "torchvision's recipe"}
    for key, values in rates.items():
        note = f'{WARM_UP} + {STEPS} steps of {BATCH} pictures of {SIZE}x{SIZE} in each turn'
        yield Row(
            'training', names[key], 'pictures/s', median(values), samples=len(values), note=note
        )
    ratio = median(rates['ours']) / median(rates['peer'])
    yield Row('ratio', f'training: ours / {names["peer"]}', '', ratio, goal=RATIO)
    yield Row('training', 'ours: reading the pictures, once', 's', read, samples=count)


class Ours:
    """What training.train runs, for some steps."""

    def __init__(self, folder: Path) -> None:
        for name in ('pytorch_lightning', 'lightning'):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.data = PictureData(str(folder), size=SIZE, batch_size=BATCH)
        self.data.setup()
        self.learner = Learner(self.data.labels, SIZE, architecture=ARCHITECTURE)

    def turn(self) -> float:
        """Return pictures per second."""
        clock = Clock()
        trainer = Trainer(
            accelerator='cpu',
            devices=1,
            precision=of_trainer(self.learner, 'cpu'),
            max_steps=WARM_UP + STEPS,
            limit_val_batches=0,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            trainer.fit(self.learner, datamodule=self.data)
        return clock.rate()


class Clock(Callback):
    """Remembers when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    def rate(self) -> float:
        """Return pictures per second after the warm-up."""
        return BATCH * STEPS / (self.ends[WARM_UP + STEPS - 1] - self.ends[WARM_UP - 1])


class Peer:
    """The reference recipe; its workers stay from turn to turn."""

    def __init__(self, folder: Path) -> None:
        pictures = ImageFolder(
            str(folder),
            transforms.Compose(
                [
                    transforms.Resize(SIZE),  # nothing to do where they have this size already
                    transforms.CenterCrop(SIZE),
                    transforms.RandomCrop(SIZE, padding=4),
                    transforms.RandomHorizontalFlip(),
                    transforms.ToTensor(),
                    transforms.Normalize(MEAN, STD),
                ]
            ),
        )
        self.loader = DataLoader(
            pictures,
            BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=WORKERS,
            persistent_workers=True,
        )
        self.batches = self._endless()
        self.net = SqueezeNet(ARCHITECTURE)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4
        )

    def turn(self) -> float:
        """Return pictures per second."""
        clock = Clock()
        for _ in range(WARM_UP + STEPS):
            self._step(*next(self.batches))
            clock.on_train_batch_end()
        return clock.rate()

    def _step(self, images: Tensor, targets: Tensor) -> None:
        logits = self.net(images)
        loss = self.criterion(logits, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        # Looked at in each step, as the reference does for its progress.
        loss.item()
        (logits.argmax(1) == targets).float().mean().item()

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader


def write_pictures(setting: Setting, folder: Path) -> int:
    """Write JPEG files into train/<class>/ and val/<class>/; return how many to train on."""
    archive = Archive(setting.images) if setting.images else None
    names = evenly(archive.part('train'), PICTURES) if archive else ()
    if archive and names:
        files = {f'{name.split("/")[-2]}/{Path(name).name}': archive.read(name) for name in names}
    else:
        say('training_loop: on pictures of noise; with a train/ in --images, on those')
        files = dict(made())
    for name, data in files.items():
        write(folder / 'train' / name, data)
        one = folder / 'val' / name.split('/')[0]  # PictureData asks for some to validate on
        if not one.exists():
            write(one / Path(name).name, data)
    return len(files)


def made() -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of soft colours with some texture, as a camera's."""
    random = np.random.default_rng(0)
    for i in range(PICTURES):
        soft = cv2.resize(random.integers(30, 226, (4, 4, 3), np.uint8), (SIZE, SIZE))
        picture = soft + random.integers(0, 12, (SIZE, SIZE, 1), np.uint8)
        _, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        yield f'class{i % ARCHITECTURE.classes}/{i:05}.jpg', data.tobytes()


def write(path: Path, data: bytes) -> None:
    """Write a file, and its folder before it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
