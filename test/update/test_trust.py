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
"""Each attack on an update that TUF names, and some of our own: all are refused in one line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from sqz_perception.errors import UpdateInstalled, UpdateUnsuitable, UpdateUntrusted
from sqz_perception.update import trust
from sqz_perception.update.release import suitable
from sqz_perception.update.trust import LIMITS, Record, pack, unpack
from sqz_perception.version import RELEASED

pytest.importorskip('cryptography', reason='signing needs it')
from workstation import NAMES, ONLINE, Workstation, workstation

YEAR = 365 * 86_400


@pytest.fixture
def station(tmp_path: Path) -> Workstation:
    return workstation(tmp_path)


def altered(
    data: bytes, change: Callable[[dict[str, Any]], None], *signers: CryptoSigner
) -> bytes:
    """Return a document with something changed, signed anew by ``signers`` if there are any."""
    document = json.loads(data)
    change(document['signed'])
    if not signers:
        return json.dumps(document).encode()
    metadata = Metadata.from_dict(document)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def refused(station: Workstation, bundle: trust.Bundle, match: str, clock: float = 0.0) -> None:
    before = station.record
    with pytest.raises(UpdateUntrusted, match=match) as caught:
        station.check(bundle, clock or time.time())
    assert '\n' not in str(caught.value)
    assert station.record == before


def test_a_release_and_the_next_are_accepted(station: Workstation) -> None:
    first = suitable(station.check(station.publish(1)), 'tiny', '', 0, frozenset())
    assert (first.number, [f.base for f in first.files]) == (1, [''])
    second = suitable(station.check(unpack(pack(station.publish(2)))), 'tiny', '', 1, frozenset())
    assert second.way_from(first.identity).path.endswith('.sqd')
    assert second.way_from('0' * 64) == second.whole()
    assert station.check(station.repository.bundle()) == (second,)  # the same again is no attack


def test_all_that_travels_of_the_metadata_is_small(station: Workstation) -> None:
    station.publish(1)
    assert len(pack(station.publish(2))) < 1_200


def test_arbitrary_software_has_no_signature(station: Workstation) -> None:
    bundle = station.publish(1)
    name = '2.targets.json'
    bundle[name] = altered(bundle[name], lambda s: s['targets'].clear())
    refused(station, bundle, 'targets was signed by 0/1 keys')


def test_a_wrong_key_does_not_sign(station: Workstation) -> None:
    bundle = station.publish(1)
    other = CryptoSigner.generate_ed25519()
    bundle['timestamp.json'] = altered(bundle['timestamp.json'], lambda s: None, other)
    refused(station, bundle, 'timestamp was signed by 0/1 keys')


def test_a_root_with_too_few_signatures(station: Workstation) -> None:
    bundle = station.publish(1)
    root = altered(station.root, lambda s: s.update(version=2), station.keys['root-1'])
    refused(station, {**bundle, '2.root.json': root}, 'root was signed by 1/2 keys')


def test_rollback_is_refused_also_when_python_tufs_own_files_are_lost(
    station: Workstation,
) -> None:
    old = station.publish(1)
    station.check(station.publish(2))
    refused(station, old, 'timestamp|version')
    station.record = replace(station.record, documents={})
    refused(station, old, 'is older than version')


def test_expired_metadata_is_refused(station: Workstation) -> None:
    bundle = station.publish(1)
    refused(station, bundle, r'expired.*set the clock', time.time() + YEAR)


def test_freeze_is_noticed_without_a_clock(station: Workstation) -> None:
    """At 1970, the last attested time and the package's release still bound what is current."""
    signer = station.keys['timestamp']

    def outlived(signed: dict[str, Any]) -> None:
        signed['expires'] = (RELEASED - timedelta(days=1)).strftime('%Y-%m-%dT%H:%M:%SZ')

    bundle = station.publish(1)
    station.check(bundle, clock=1.0)
    old = {**bundle, 'timestamp.json': altered(bundle['timestamp.json'], outlived, signer)}
    refused(replace(station, record=Record()), old, 'expired', 1.0)
    station.record = replace(station.record, attested=time.time() + YEAR)
    refused(station, bundle, 'expired', 1.0)


def test_a_clock_in_the_future_is_not_remembered(station: Workstation) -> None:
    bundle = station.publish(1)
    refused(station, bundle, 'expired', time.time() + 9 * YEAR)
    assert station.check(bundle)


def test_mix_and_match_of_two_publications(station: Workstation) -> None:
    old, new = station.publish(1), station.publish(2)
    mixed = {**new, '3.targets.json': old['2.targets.json']}
    refused(station, mixed, 'targets')
    refused(station, {**old, 'timestamp.json': new['timestamp.json']}, 'is not there')


def test_fast_forward_ends_with_the_keys_that_did_it(station: Workstation) -> None:
    bundle = station.publish(1)
    far = {**bundle}
    far['timestamp.json'] = altered(
        bundle['timestamp.json'], lambda s: s.update(version=10**6), station.keys['timestamp']
    )
    station.check(far)
    refused(station, station.publish(2), 'timestamp')
    new = CryptoSigner.generate_ed25519()
    station.repository.rotate('timestamp', new, station.keys.__getitem__)
    station.keys['timestamp'] = new
    station.repository.renew(station.keys.__getitem__)
    assert station.check(station.repository.bundle())


def test_endless_data_is_cut_off(station: Workstation) -> None:
    bundle = station.publish(1)
    refused(station, {**bundle, 'timestamp.json': b' ' * 5_000}, 'at most 4,096')
    huge = pack({'timestamp.json': b' ' * (trust.MAX_BUNDLE + 1)})
    assert len(huge) < 1_000
    with pytest.raises(UpdateUntrusted, match='more than'):
        unpack(huge)


def test_roots_can_not_rotate_without_end(station: Workstation) -> None:
    bundle = station.publish(1)
    keys = [station.keys[f'root-{i}'] for i in (1, 2, 3)]
    for version in range(2, LIMITS.max_root_rotations + 4):
        root = altered(station.root, lambda s, v=version: s.update(version=v), *keys)  # type: ignore[misc]
        bundle[f'{version}.root.json'] = root
    station.check(bundle)
    assert station.record.floors['root'] == LIMITS.max_root_rotations + 1


@pytest.mark.parametrize('name', NAMES)
def test_every_key_can_be_replaced(station: Workstation, name: str) -> None:
    station.check(station.publish(1))
    old, new = station.keys[name], CryptoSigner.generate_ed25519()
    station.repository.rotate(name, new, station.keys.__getitem__)
    station.keys[name] = new
    assert station.check(station.publish(2))
    if name in ONLINE:
        station.keys[name] = old  # stolen, but worth nothing any more
        refused(station, station.publish(3), 'signed by 0/1 keys')


def test_a_provisioned_root_that_is_newer_wins(station: Workstation) -> None:
    station.check(station.publish(1))
    new = CryptoSigner.generate_ed25519()
    station.root = station.repository.rotate('snapshot', new, station.keys.__getitem__)
    station.keys['snapshot'] = new
    bundle = station.publish(2)
    del bundle['2.root.json']
    assert station.check(bundle)


@pytest.mark.parametrize(
    ('field', 'value'),
    [('release', 'x'), ('release', True), ('result', 'zz'), ('blocks', '%'), ('base', 3),
     ('model', None), ('requires', 'new')],
)  # fmt: skip
def test_signed_fields_of_the_wrong_kind(station: Workstation, field: str, value: object) -> None:
    bundle = station.publish(1)

    def change(signed: dict[str, Any]) -> None:
        for target in signed['targets'].values():
            target['custom']['sqz'][field] = value

    name = '2.targets.json'
    bundle[name] = altered(bundle[name], change, station.keys['targets'])
    refused(station, bundle, 'a signed document is damaged')


@pytest.mark.parametrize(
    'data', [b'', b'junk', pack({'x.json': b''}), pack({'timestamp.json': b''})[:-3]]
)
def test_damaged_bundles(data: bytes) -> None:
    with pytest.raises(UpdateUntrusted) as caught:
        unpack(data)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'[]', b'{"signed": {}}', b'\xff', b'[' * 99_999])
@pytest.mark.parametrize('name', ['timestamp.json', '2.targets.json', '2.root.json'])
def test_documents_that_are_none(station: Workstation, name: str, content: bytes) -> None:
    refused(station, {**station.publish(1), name: content}, '.')


def test_which_release_suits(station: Workstation) -> None:
    station.publish(1)
    station.publish(3)
    releases = station.check(station.publish(7, 'other'))
    ours = next(r for r in releases if r.model == 'tiny')
    assert suitable(releases, 'tiny', '', 2, frozenset()) == ours
    for model, committed, failed, match in (
        ('third', 0, frozenset(), 'is for other, tiny; this robot runs third'),
        ('tiny', 3, frozenset(), 'is not newer than release 3'),
        ('tiny', 2, frozenset({ours.identity}), 'failed its trial here'),
    ):
        with pytest.raises(UpdateUnsuitable, match=match):
            suitable(releases, model, '', committed, failed)
    with pytest.raises(UpdateInstalled):
        suitable(releases, 'tiny', ours.identity, 3, frozenset())
    with pytest.raises(UpdateUnsuitable, match=r'needs sqz_perception 99\.0'):
        suitable((replace(ours, requires=(99, 0)),), 'tiny', '', 0, frozenset())


def test_the_time_of_issue_is_remembered(station: Workstation) -> None:
    station.check(station.publish(1), clock=1.0)
    assert abs(station.record.attested - datetime.now(timezone.utc).timestamp()) < 60
