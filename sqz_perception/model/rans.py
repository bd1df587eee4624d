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
Symbols <-> 16-bit words, by interleaved range coding with asymmetric numeral systems.

Every lane has a state in [2^16, 2^32). A step decodes one symbol in each lane, so NumPy does a
step in a few calls. The decoder begins with the states that the file gives and must end with
all of them at 2^16, which is where the encoder, running backwards, began.

Source: Duda, arXiv 1311.2540; interleaving: Giesen, arXiv 1402.3392.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelCorrupt, ModelInvalid
from sqz_perception.model.tables import SCALE_BITS, TOTAL, Table

START = 1 << 16
WORD_BITS = 16
STATE_BYTES = 4
STEPS = 10240  # symbols of a lane: as many lanes are used as that takes, a power of two
MAX_LANES = 2**16
PIECE = MAX_LANES  # symbols decoded before they are written away: bounds the memory in use

Integers = NDArray[np.int64]


def lanes_for(symbols: int) -> int:
    """Return the number of lanes for so many symbols: few for few, as each costs 2 bytes."""
    return min(1 << max(-(-symbols // STEPS) - 1, 0).bit_length(), MAX_LANES)


class Lookup:
    """The tables of one array, laid out for decoding: one entry for each table and slot."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.steps = np.empty(len(tables) * TOTAL, np.int64)
        self.symbols = np.empty(len(tables) * TOTAL, np.int16)
        for i, table in enumerate(tables):
            frequencies = table.frequencies()
            first = np.cumsum(frequencies) - frequencies
            # the frequency in the upper half; slot less the symbol's first slot in the lower
            self.steps[i * TOTAL : (i + 1) * TOTAL] = np.arange(TOTAL) + np.repeat(
                (frequencies << 32) - first, frequencies
            )
            self.symbols[i * TOTAL : (i + 1) * TOTAL] = np.repeat(
                np.arange(-table.below, table.above + 1), frequencies
            )


class Decoder:
    """Decodes runs of symbols, one after another, from states and words."""

    def __init__(self, data: memoryview, lanes: int) -> None:
        """Raise ModelInvalid where ``data`` has no place for the states."""
        states = lanes * STATE_BYTES
        if len(data) < states:
            raise ModelInvalid('the coded tensors end before the states of their lanes')
        self._states = np.frombuffer(data, '<u4', lanes).astype(np.int64)
        if (self._states < START).any():
            raise ModelInvalid('a lane of the coded tensors begins below its range')
        count = (len(data) - states) // 2
        self._words = np.frombuffer(data, '<u2', count, states)
        self._next = 0

    def run(self, lookup: Lookup, contexts: Integers | None, out: NDArray) -> None:
        """Fill ``out`` (n,) with the next symbols, of table 0 or of each symbol's table."""
        for first in range(0, len(out), PIECE):
            part = out[first : first + PIECE]
            if contexts is None:
                slots = np.zeros(len(part), np.int64)
            else:
                slots = contexts[first : first + PIECE] << SCALE_BITS
            self._decode(lookup, slots)
            part[:] = lookup.symbols.take(slots)

    def end(self) -> int:
        """Return the bytes read. Raise ModelCorrupt where the states are not at their start."""
        if (self._states != START).any():
            raise ModelCorrupt('the coded tensors do not end as they must; get the file again')
        return STATE_BYTES * len(self._states) + 2 * self._next

    def _decode(self, lookup: Lookup, slots: Integers) -> None:
        """Add to each offset in ``slots`` (n,) the slot that its lane's state points at."""
        lanes = len(self._states)
        whole = len(slots) // lanes * lanes
        for step in slots[:whole].reshape(-1, lanes):
            self._step(lookup.steps, step, self._states)
        if whole < len(slots):
            self._step(lookup.steps, slots[whole:], self._states[: len(slots) - whole])

    def _step(self, steps: Integers, slot: Integers, state: Integers) -> None:
        slot += state & (TOTAL - 1)
        step = steps.take(slot)
        state >>= SCALE_BITS
        state *= step >> 32
        state += step & 0xFFFFFFFF
        low = (state < START).nonzero()[0]
        if not low.size:
            return
        words = self._words[self._next : self._next + low.size]
        if words.size != low.size:
            raise ModelInvalid('the words of the coded tensors end too early')
        state[low] = state.take(low) << WORD_BITS | words
        self._next += low.size


def encode(runs: Iterable[tuple[Integers, Integers]], lanes: int) -> bytes:
    """
    Return states and words for ``runs`` of symbols, in the order in which they are decoded.

    A run is each symbol's frequency and the sum of the frequencies before it.
    """
    states = np.full(lanes, START, np.int64)
    words: list[NDArray[np.uint16]] = []
    for frequencies, starts in reversed(list(runs)):
        for first in reversed(range(0, len(frequencies), lanes)):
            frequency, start = frequencies[first : first + lanes], starts[first : first + lanes]
            state = states[: len(frequency)]
            full = state >= frequency << (2 * WORD_BITS - SCALE_BITS)
            words.append((state[full] & 0xFFFF).astype('<u2'))
            state[full] >>= WORD_BITS
            quotient, rest = np.divmod(state, frequency)
            state[:] = (quotient << SCALE_BITS) + rest + start
    return states.astype('<u4').tobytes() + b''.join(block.tobytes() for block in words[::-1])
