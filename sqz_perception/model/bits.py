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
Bits in bytes, the lowest bit of each byte first: single numbers, and whole arrays of raw bits.

A number of unknown size is an Exp-Golomb code of order k: z zeros, a one, then z + k bits of
(number + 2^k) without its leading one. Source: Teuhola, 1978, as in H.264 section 9.1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sqz_perception.errors import ModelInvalid

MAX_ZEROS = 24  # no number here needs more
SPAN = 5  # bytes that a field of up to 32 bits can touch


class BitWriter:
    """Collects numbers; ``bytes`` gives them, filled up with zeros."""

    def __init__(self) -> None:
        self._value = 0
        self.length = 0  # bits

    def bits(self, value: int, count: int) -> None:
        self._value |= value << self.length
        self.length += count

    def number(self, value: int, order: int = 0) -> None:
        """Append ``value`` from 0 as an Exp-Golomb code."""
        zeros, tail = _golomb(value, order)
        self.bits(1 << zeros, zeros + 1)
        self.bits(tail, zeros + order)

    def signed(self, value: int, order: int = 0) -> None:
        """Append ``value`` as the number 2 * value, or -2 * value - 1 where it is negative."""
        self.number(zigzag(value), order)

    def bytes(self) -> bytes:
        return self._value.to_bytes(-(-self.length // 8), 'little')


class BitReader:
    """Reads what a BitWriter wrote. Raises ModelInvalid where the bits end too early."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0  # bits

    def bits(self, count: int) -> int:
        """Return the next ``count`` bits, at most 32."""
        value = self._ahead() & ((1 << count) - 1)
        self._skip(count)
        return value

    def number(self, order: int = 0) -> int:
        ahead = self._ahead()
        zeros = (ahead & -ahead).bit_length() - 1  # -1 if there is nothing but zeros
        if not 0 <= zeros <= MAX_ZEROS:
            raise ModelInvalid('the description of the coded tensors ends, or holds no number')
        tail = ahead >> (zeros + 1) & ((1 << (zeros + order)) - 1)
        self._skip(2 * zeros + 1 + order)
        return (1 << (zeros + order)) + tail - (1 << order)

    def signed(self, order: int = 0) -> int:
        number = self.number(order)
        return -((number + 1) >> 1) if number & 1 else number >> 1

    def end(self) -> int:
        """Return the bytes read; the bits that fill up the last one must be zero."""
        if self.bits(-self._position % 8):
            raise ModelInvalid('the bits after the description of the coded tensors are not zero')
        return self._position // 8

    def _ahead(self) -> int:
        """Return the next 64 bits or more, as if zeros followed the end."""
        first, shift = divmod(self._position, 8)
        return int.from_bytes(self._data[first : first + 9], 'little') >> shift

    def _skip(self, count: int) -> None:
        self._position += count
        if self._position > 8 * len(self._data):
            raise ModelInvalid('the description of the coded tensors ends too early')


def zigzag(value: int) -> int:
    """Return 0, 1, 2, 3, 4 ... for 0, -1, 1, -2, 2 ..."""
    return -2 * value - 1 if value < 0 else 2 * value


def number_bits(value: int, order: int) -> int:
    """Return how many bits ``value`` takes as an Exp-Golomb code."""
    zeros, _ = _golomb(value, order)
    return 2 * zeros + 1 + order


def _golomb(value: int, order: int) -> tuple[int, int]:
    shifted = value + (1 << order)
    zeros = shifted.bit_length() - 1 - order
    return zeros, shifted - (1 << (zeros + order))


def pack(values: NDArray[np.int64], widths: NDArray[np.int64]) -> bytes:
    """Return ``values`` one after another, each in its own width of 0 to 32 bits."""
    ends = np.cumsum(widths)
    if not len(ends):
        return b''
    first, shift = np.divmod(ends - widths, 8)
    shifted = values << shift
    packed = np.zeros(-(-int(ends[-1]) // 8) + SPAN, np.int64)
    for byte in range(SPAN):  # no two values share a bit, so adding is or-ing
        piece = (shifted >> 8 * byte) & 255
        packed += np.bincount(first + byte, piece, len(packed)).astype(np.int64)
    return packed[:-SPAN].astype(np.uint8).tobytes()


class RawBits:
    """Reads what ``pack`` wrote, array by array, and sees that nothing is left."""

    def __init__(self, data: memoryview) -> None:
        self._size, self._position = len(data), 0  # bytes, bits
        self._bytes = np.frombuffer(bytes(data) + bytes(SPAN), np.uint8)

    def take(self, widths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the next values, of so many bits each. Raises ModelInvalid."""
        ends = self._position + np.cumsum(widths)
        self._position += int(widths.sum())
        if self._position > 8 * self._size:
            raise ModelInvalid('the raw bits of the coded tensors end too early')
        first, shift = np.divmod(ends - widths, 8)
        window = np.zeros(len(ends), np.int64)
        for byte in range(SPAN):
            window |= self._bytes[first + byte].astype(np.int64) << 8 * byte
        return (window >> shift) & ((1 << widths) - 1)

    def end(self) -> None:
        """Raise ModelInvalid where bytes are left, or bits that fill up the last are not zero."""
        used, rest = -(-self._position // 8), self._position % 8
        if self._size != used:
            raise ModelInvalid(f'{self._size - used:,} bytes follow the coded tensors')
        if rest and self._bytes[used - 1] >> rest:
            raise ModelInvalid('the bits after the coded tensors are not zero')
