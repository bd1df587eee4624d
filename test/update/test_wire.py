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
"""The bytes of the update messages: pinned, small enough, and safe to parse whatever arrives."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sqz_perception.errors import MessageInvalid
from sqz_perception.update import wire
from sqz_perception.update.wire import Announce, Chunk, Kind, Parity, Reply, State

SHA = bytes(range(32))
FILE = SHA[:8]
GOLDEN = {
    Announce(Kind.TARGET, SHA, 2361, 3, 100, 'lab'): '53510100 01' + SHA.hex() + '39090000 0300'
    '6400 036c6162',
    Chunk(FILE, 258, b'abc'): '53510101' + FILE.hex() + '0201 616263',
    Parity(FILE, 7, b'abc'): '53510102' + FILE.hex() + '07000000 616263',
    Reply('r2', FILE, State.RECEIVING, 5, 3, 64, 9, 11, FILE, 'no'): '53510103'
    + FILE.hex()
    + '00 0500 0300 4000 0900000000000000 0b000000'
    + FILE.hex()
    + '027232 026e6f',
}

texts = st.text('aZ09.-é日𝄞', max_size=16)
bytes8 = st.binary(min_size=8, max_size=8)
u16 = st.integers(0, 2**16 - 1)
messages = st.one_of(
    st.builds(
        Announce,
        st.sampled_from(Kind),
        st.binary(min_size=32, max_size=32),
        st.integers(1, wire.MAX_CHUNKS * wire.CHUNK),
        u16,
        u16,
        texts,
    ),
    st.builds(Chunk, bytes8, u16, st.binary(max_size=wire.CHUNK)),
    st.builds(Parity, bytes8, st.integers(0, 2**32 - 1), st.binary(max_size=wire.CHUNK)),
    st.builds(
        Reply,
        texts.filter(bool),
        bytes8,
        st.sampled_from(State),
        *(u16, u16, u16),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**32 - 1),
        bytes8,
        texts,
    ),
)


@pytest.mark.parametrize('message', GOLDEN, ids=lambda m: type(m).__name__)
def test_the_bytes_are_as_docs_protocol_says(message: wire.Message) -> None:
    data = bytes.fromhex(GOLDEN[message])
    assert wire.pack(message) == data
    assert wire.parse(data) == message


@given(messages)
def test_what_is_packed_is_parsed_and_fits_a_frame(message: wire.Message) -> None:
    data = wire.pack(message)
    assert len(data) <= wire.MAX_MESSAGE
    assert wire.parse(data) == message


@given(st.one_of(st.binary(max_size=1300), st.binary(max_size=200).map(b'SQ\x01'.__add__)))
def test_junk_is_refused_or_a_message(data: bytes) -> None:
    try:
        message = wire.parse(data)
    except MessageInvalid as error:
        assert '\n' not in str(error)
    else:
        assert isinstance(message, Announce | Chunk | Parity | Reply)


@given(messages, st.integers(0, 60))
def test_a_message_cut_short_is_refused_or_another(message: wire.Message, keep: int) -> None:
    data = wire.pack(message)[:keep]
    with suppress(MessageInvalid):
        assert wire.parse(data) is not None


def test_long_texts_are_cut_between_characters() -> None:
    reply = wire.parse(wire.pack(Reply('r', FILE, State.REFUSED, reason='é' * 300)))
    assert isinstance(reply, Reply)
    assert reply.reason == 'é' * 100
