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
"""The store survives a power cut at any moment, a full or read-only disk, and damaged files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqz_perception.errors import StoreFailed
from sqz_perception.update.store import SLOTS, State, Store, decode, encode
from sqz_perception.update.trust import Record

OLD, NEW, NEWER = ('a' * 64, 'b' * 64, 'c' * 64)
RECORD = Record(b'root', {'targets': b'{}'}, {'targets': 3}, ('key',), 7.0)


def opened(root: Path) -> Store:
    """Return the store as a process finds it that starts after another has ended."""
    store = Store(root)
    store.open()
    store.close()
    return store


def in_use(root: Path) -> Store:
    """Return a store whose model OLD is in use, a file of the user before it."""
    store = opened(root)
    store.use('/models/first.sqz', '')
    store.add(OLD, b'old')
    store.begin_trial(OLD)
    store.commit('m', 1)
    return store


def test_what_is_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    store.trusted(RECORD)
    again = opened(tmp_path)
    assert again.state == store.state
    assert again.state.releases == {'m': 1}
    assert again.state.trust == RECORD
    assert again.path(again.state.current).read_bytes() == b'old'
    assert again.path(again.state.previous) == Path('/models/first.sqz')
    assert not again.problem


def test_a_trial_that_a_crash_ended_goes_back_and_is_remembered(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    store.add(NEW, b'new')
    store.begin_trial(NEW)
    again = Store(tmp_path)
    assert again.open() == NEW
    again.close()
    assert (again.state.current, again.state.trial) == (OLD, '')
    assert again.state.failed == (NEW,)
    assert not again.holds(NEW)
    assert Store(tmp_path).open() == ''


def test_only_a_commit_raises_the_floor(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    store.add(NEW, b'new')
    store.begin_trial(NEW)
    assert store.state.releases == {'m': 1}
    store.end_trial()
    assert store.state.releases == {'m': 1}
    store.add(NEWER, b'newer')
    store.begin_trial(NEWER)
    store.commit('m', 3)
    assert store.state.releases == {'m': 3}
    store.roll_back()
    assert store.state.releases == {'m': 3}


def test_rollback_needs_no_download_and_goes_one_way(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    store.add(NEW, b'new')
    store.begin_trial(NEW)
    store.commit('m', 2)
    store.roll_back()
    assert (store.state.current, store.state.previous) == (OLD, '')
    assert store.path(OLD).read_bytes() == b'old'


def test_models_that_nobody_needs_are_removed(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    for identity in (NEW, NEWER):
        store.add(identity, b'x')
        store.begin_trial(identity)
        store.commit('m', 2)
    (tmp_path / 'models' / '.half.part').write_bytes(b'')
    store.collect()
    left = sorted(path.name for path in (tmp_path / 'models').iterdir())
    assert left == [f'{NEW}.sqz', f'{NEWER}.sqz']


def test_another_request_takes_its_model(tmp_path: Path) -> None:
    store = in_use(tmp_path)
    store.use('/models/second.sqz', '/models/second.sqz')
    assert store.state.previous == OLD
    store.use('/models/second.sqz', '/models/second.sqz')
    assert store.state.previous == OLD


def test_what_the_next_start_finds_out_by_itself_is_not_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.use('/models/first.sqz', '', durable=False)
    assert store.state.current == '/models/first.sqz'
    assert not any((tmp_path / slot).exists() for slot in SLOTS)
    store.add(OLD, b'old')
    store.begin_trial(OLD)
    store.commit('m', 1)
    assert opened(tmp_path).state.previous == '/models/first.sqz'


@pytest.mark.parametrize('slot', [0, 1])
@pytest.mark.parametrize('damage', [b'', b'junk', None])
def test_one_damaged_slot_costs_at_most_the_last_change(
    tmp_path: Path, slot: int, damage: bytes | None
) -> None:
    store = in_use(tmp_path)
    before, after = store.state, None
    store.trusted(RECORD)
    after = store.state
    path = tmp_path / SLOTS[slot]
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    again = opened(tmp_path)
    assert again.state in (before, after)
    assert 'the other copy is used' in again.problem


def test_both_slots_damaged_starts_anew_and_says_so(tmp_path: Path) -> None:
    in_use(tmp_path)
    for slot in SLOTS:
        (tmp_path / slot).write_bytes(b'\0' * 50)
    again = opened(tmp_path)
    assert again.state == State()
    assert 'starting without one' in again.problem
    again.use('/models/first.sqz', '')


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 7))
def test_no_altered_slot_is_taken_for_a_state(junk: bytes, position: int, bit: int) -> None:
    whole = encode(replace(State(), current=OLD, trust=RECORD))
    assert decode(whole) == replace(State(), current=OLD, trust=RECORD)
    changed = bytearray(whole)
    changed[position % len(whole)] ^= 1 << bit
    for data in (junk, bytes(changed)):
        with pytest.raises((ValueError, KeyError, TypeError)):
            decode(data)


def changes(root: Path) -> list[Callable[[Store], None]]:
    """Return the steps of a life: an update that is committed, one that fails, a rollback."""
    return [
        lambda store: store.trusted(RECORD),
        lambda store: store.add(NEW, b'new') and None,
        lambda store: store.begin_trial(NEW),
        lambda store: store.commit('m', 2),
        lambda store: store.add(NEWER, b'newer') and None,
        lambda store: store.begin_trial(NEWER),
        lambda store: store.end_trial(),
        lambda store: store.roll_back(),
    ]


class PowerCut(BaseException):
    """The power goes: nothing after this happens, not even cleaning up."""


class Disk:
    """
    Counts the system calls that change the disk and cuts the power at one of them.

    ``torn``: what was written but not synced is half lost. ``undone``: a rename that was not
    synced did not happen.
    """

    CALLS = ('fsync', 'replace', 'unlink', 'chmod')

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cut: int, *, torn: bool, undone: bool
    ) -> None:
        self.calls, self.cut, self.torn, self.undone = 0, cut, torn, undone
        self._renames: list[tuple[str, str, bytes | None]] = []
        self._real = {name: getattr(os, name) for name in self.CALLS}
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._watched(name))

    def _watched(self, name: str) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if self.calls > self.cut:
                raise PowerCut
            self.calls += 1
            if self.calls > self.cut:
                self._lose()
                raise PowerCut
            if name == 'replace':
                self._note(*map(str, arguments))
            if name == 'fsync' and os.path.isdir(f'/proc/self/fd/{arguments[0]}'):
                self._renames.clear()
            return self._real[name](*arguments, **options)

        return call

    def _note(self, source: str, target: str) -> None:
        old = Path(target).read_bytes() if os.path.exists(target) else None
        self._renames.append((source, target, old))

    def _lose(self) -> None:
        for _, target, old in self._renames if self.undone else ():
            if old is None:
                self._real['unlink'](target)
            else:
                Path(target).write_bytes(old)

    def tear(self, root: Path) -> None:
        for path in root.rglob('.*.part') if self.torn else ():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lives(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Yield each step and each call in it at which the power can be cut."""
    for step in range(len(changes(tmp_path))):
        for cut in range(9):
            yield step, cut


@pytest.mark.parametrize('torn', [False, True])
@pytest.mark.parametrize('undone', [False, True])
def test_a_power_cut_at_any_call_leaves_the_old_or_the_new_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool, undone: bool
) -> None:
    monkeypatch.setattr(os, 'fsync', lambda _: None)  # the test plays the disk; a real one is slow
    cuts = 0
    for number, (step, cut) in enumerate(lives(tmp_path)):
        root = tmp_path / str(number)
        store = in_use(root)
        for change in changes(root)[:step]:
            change(store)
        before = store.state
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, cut, torn=torn, undone=undone)
            try:
                changes(root)[step](store)
            except PowerCut:
                cuts += 1
                disk.tear(root)
        again = opened(root)  # always
        assert not again.problem
        assert again.state.current in {before.current, {3: NEW, 7: OLD}.get(step)}
        assert again.path(again.state.current).exists() or '/' in again.state.current
        assert not again.state.trial
        again.add(NEWER, b'newer')  # and always able to go on
        again.begin_trial(NEWER)
        again.commit('m', 9)
        assert opened(root).state.current == NEWER
        shutil.rmtree(root)
    assert cuts > 30


@pytest.mark.parametrize('call', ['fsync', 'replace'])
def test_a_disk_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = in_use(tmp_path)
    before = store.state

    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, call, full)
    with pytest.raises(StoreFailed, match=r'No space left on device; free the disk'):
        store.begin_trial(NEW)
    assert store.state == before
    monkeypatch.undo()
    assert opened(tmp_path).state == before


def test_two_processes_do_not_share_a_store(tmp_path: Path) -> None:
    first = Store(tmp_path)
    first.open()
    with pytest.raises(StoreFailed, match='give each node a store_dir of its own'):
        Store(tmp_path).open()
    first.close()
    opened(tmp_path)


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(StoreFailed, match='set store_dir'):
        Store(tmp_path / 'file' / 'store').open()
