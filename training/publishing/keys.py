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
Ed25519 keys that sign updates: one file for each, encrypted with a passphrase, outside the repo.

A key file is PKCS #8 in PEM. The passphrase comes from the environment variable
``SQZ_KEY_PASSPHRASE`` or is asked for at the terminal.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from sqz_perception import atomic
from sqz_perception.errors import UpdateError

PASSPHRASE = 'SQZ_KEY_PASSPHRASE'
LEAST = 8  # characters of a passphrase
SUFFIX = '.pem'


def create(path: Path, passphrase: str) -> CryptoSigner:
    """Write a new key to ``path``, readable by its owner only. Raises UpdateError."""
    if path.exists():
        raise UpdateError(f'{path}: a key is already there; move it away first')
    key = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(passphrase.encode())
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.replace(path, data, mode=0o600)
    except OSError as error:
        raise UpdateError(f'{path}: {error.strerror or error}; choose another --keys') from error
    return CryptoSigner(key)


def load(path: Path, passphrase: str) -> CryptoSigner:
    """Return the key in the file at ``path``. Raises UpdateError."""
    try:
        key = load_pem_private_key(path.read_bytes(), passphrase.encode())
    except OSError as error:
        raise UpdateError(f'{path}: {error.strerror or error}; check --keys') from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UpdateError(
            f'{path}: not a key, or encrypted with another passphrase; check {PASSPHRASE}'
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UpdateError(f'{path}: not an Ed25519 key; make keys with training.publish init')
    return CryptoSigner(key)


def passphrase(*, new: bool = False) -> str:
    """Return the passphrase from the environment, else ask for it. Raises UpdateError."""
    given = os.environ.get(PASSPHRASE)
    if given is None:
        if not sys.stdin.isatty():
            raise UpdateError(f'no passphrase for the keys: set {PASSPHRASE}')
        given = getpass.getpass('Passphrase of the keys: ')
        if new and getpass.getpass('Again: ') != given:
            raise UpdateError('the two passphrases differ; begin again')
    if new and len(given) < LEAST:
        raise UpdateError(f'the passphrase has fewer than {LEAST} characters; choose a longer one')
    return given


class Keys:
    """The keys in a folder, by name; the passphrase is asked for once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._secret: str | None = None

    def __call__(self, name: str) -> CryptoSigner:
        """Return the key of that name. Raises UpdateError."""
        if self._secret is None:
            self._secret = passphrase()
        return load(self._folder / f'{name}{SUFFIX}', self._secret)
