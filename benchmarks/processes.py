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
"""ROS nodes in processes of their own, with the transport profile or without it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqz_perception.errors import SqzError
from sqz_perception.resources import PROFILE_VARIABLES, transport_profile

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60.0  # seconds; importing torch on a busy machine takes some of them
MEBIBYTE = 2**20


class BenchError(SqzError):
    """Something that was to be measured did not run."""


class Process:
    """``python -m MODULE ARGUMENTS``; what it says goes to ``log``, its lines come back."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: dict[str, str], log: Path
    ) -> None:
        self.module = module
        self._log = log
        self.begun = time.time_ns()
        with log.open('w', encoding='utf-8') as errors:
            self._process = subprocess.Popen(
                [sys.executable, '-m', *module.split(), *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=ROOT,
                text=True,
            )

    def line(self) -> str:
        """Return the next line that it prints. Raises BenchError where it ends before."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f'{self.module} ended too early; {self._last_words()}')
        return line

    def result(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait for its end and return its last line, JSON. Raises BenchError."""
        try:
            out, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BenchError(f'{self.module} did not end; {self._last_words()}') from None
        lines = out.splitlines()
        if self._process.returncode or not lines:
            raise BenchError(f'{self.module} failed; {self._last_words()}')
        return dict(json.loads(lines[-1]))

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def memory(self) -> dict[str, float]:
        """Return the fields of /proc/PID/status that end in kB, in MB (2**20 bytes)."""
        text = Path(f'/proc/{self._process.pid}/status').read_text(encoding='utf-8')
        fields = (line.split() for line in text.splitlines() if line.endswith(' kB'))
        return {name.rstrip(':'): int(size) * 1024 / MEBIBYTE for name, size, _ in fields}

    def kill(self) -> None:
        """End it, politely at first, and let go of its output."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        _close(self._process.stdout)

    def _last_words(self) -> str:
        words = self._log.read_text(encoding='utf-8').strip().splitlines()
        return f'its last words: {words[-1]}' if words else 'it said nothing'


class Lab:
    """Starts processes that see each other and nobody else."""

    def __init__(self, folder: Path, domain: int) -> None:
        self._folder = folder
        self._domain = domain
        self._count = 0

    @contextmanager
    def running(
        self, module: str, *arguments: str | Path, profile: bool = True
    ) -> Iterator[Process]:
        """Run a module for the length of the block, with or without our transport profile."""
        self._count += 1
        log = self._folder / f'{self._count:03}-{module.split()[-1].rpartition(".")[2]}.log'
        environment = self._environment(profile)
        process = Process(module, [str(one) for one in arguments], environment, log)
        try:
            yield process
        finally:
            process.kill()

    def _environment(self, profile: bool) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if k not in PROFILE_VARIABLES}
        extra = transport_profile(own) if profile else {}
        return {**own, **extra, 'ROS_DOMAIN_ID': str(self._domain)}


def _close(stream: IO[str] | None) -> None:
    if stream is not None:
        stream.close()
