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
Update the model of a running robot over the air.

``make demo-update`` runs it: the robot of ``make demo`` classifies, and a workstation signs a new
release, whose labels are French, and broadcasts it. The labels on the screen change between two
frames.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import rclpy
from rclpy.executors import ExternalShutdownException
from vision_msgs.msg import Classification

from demo import RATE, ROOT, Spectator, demo_pictures, nodes
from sqz_perception.model import file
from sqz_perception.resources import default_model

FRENCH = (
    *('avion', 'voiture', 'oiseau', 'chat', 'cerf', 'chien', 'grenouille', 'cheval'),
    *('bateau', 'camion'),
)
AFTER = 6  # frames with the new model, after which the demo ends
PATIENCE = 120.0  # seconds


class Audience(Spectator):
    """Counts the frames before and after the change of the labels."""

    def __init__(self) -> None:
        super().__init__(sys.maxsize)
        self.before = self.after = 0

    def _print(self, result: Classification) -> None:
        super()._print(result)
        french = any(hypothesis.class_id in FRENCH for hypothesis in result.results)
        self.before += not french
        self.after += french
        if self.after >= AFTER:
            self.left = 0


def main() -> int:
    """Run the demo; return the exit code."""
    options = argparse.Namespace(source=demo_pictures(), model=str(default_model()), rate=RATE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workstation = Workstation(folder)
        workstation.prepare()
        rclpy.init()
        audience = Audience()
        try:
            with nodes(
                options,
                update_root=workstation.root,
                auto_update='true',
                trial_time='2.0',
                store_dir=folder / 'robot',
            ) as robot:
                workstation.push_when(lambda: audience.before >= 4)
                ends = time.monotonic() + PATIENCE

                def alive() -> None:
                    if any(process.poll() is not None for process in robot):
                        raise SystemExit(1)  # its own log line says why
                    if time.monotonic() > ends:
                        raise SystemExit(f'error: no update within {PATIENCE:g} s; see above')

                audience.watch(alive)
        except (KeyboardInterrupt, ExternalShutdownException):
            return 130
        finally:
            rclpy.try_shutdown()
            workstation.end()
    print(f'{audience.before} frames with the old model, {audience.after} with the new one')
    return 0


class Workstation:
    """The processes of a workstation: its keys, its repository, its broadcast."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / 'updates' / 'metadata' / '1.root.json'
        self._environment = {**os.environ, 'SQZ_KEY_PASSPHRASE': 'only a demonstration'}
        self._push: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    def prepare(self) -> None:
        """Make keys and a repository with a new release of the model in the package."""
        old = file.read(default_model())
        new = replace(old, release=old.release + 1, labels=FRENCH)
        file.write(new, self.folder / 'new.sqz')
        keys = ['--keys', str(self.folder / 'keys')]
        self._run('init', *keys)
        self._run('release', str(self.folder / 'new.sqz'), '--base', str(default_model()), *keys)

    def push_when(self, condition: Callable[[], bool]) -> None:
        """Broadcast the release as soon as the condition holds."""

        def wait() -> None:
            while not self._ended.wait(0.1):
                if condition():
                    command = self._command('push', '--robots', '1', '--seconds', '60')
                    self._push = subprocess.Popen(command, cwd=ROOT, env=self._environment)
                    return

        threading.Thread(target=wait, daemon=True).start()

    def end(self) -> None:
        """Wait for the broadcast to end."""
        self._ended.set()
        if self._push is not None:
            self._push.wait(70)

    def _run(self, *words: str) -> None:
        print(f'$ python -m training.publish {" ".join(words)}', flush=True)
        subprocess.run(self._command(*words), cwd=ROOT, env=self._environment, check=True)

    def _command(self, *words: str) -> list[str]:
        repository = ['--repository', str(self.folder / 'updates')]
        return [sys.executable, '-m', 'training.publish', *words, *repository]


if __name__ == '__main__':
    sys.exit(main())
