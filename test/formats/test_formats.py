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
"""What is read of the headers, what is refused, and how much memory any bytes can take."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile_pictures import (
    COLOUR,
    COLOUR_ALPHA,
    GREY,
    PALETTE,
    PNG_START,
    black_png,
    chunk,
    encoded,
    gif_claiming,
    jpeg_claiming,
    png_claiming,
    png_header,
    progressive_jpeg,
    segment,
    tiff,
    with_chunks,
)
from sqz_perception import formats
from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameError,
    FrameOversized,
)
from sqz_perception.formats import jpeg, png

PIXELS = 2**20  # the limit in these tests
NOISE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
GREYS = NOISE[..., 0]
ALPHA = np.dstack([NOISE, GREYS])
JPEG, PNG, TIFF = (encoded(suffix, NOISE) for suffix in ('.jpg', '.png', '.tiff'))
ASCII = b' '.join(b'%d' % value for value in GREYS.ravel())
# Pictures of 56x40 in every format, with the options of cv2.imwrite.
WHOLE = {
    'jpeg': JPEG,
    'jpeg grey': encoded('.jpg', GREYS),
    'jpeg progressive': encoded('.jpg', NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'png': PNG,
    'png grey': encoded('.png', GREYS),
    'png alpha': encoded('.png', ALPHA),
    'png 16 bits': encoded('.png', NOISE.astype(np.uint16) * 257),
    'png 1 bit interlaced': black_png(56, 40, 1, GREY, interlaced=True),
    'png palette': black_png(56, 40, 8, PALETTE),
    'bmp': encoded('.bmp', NOISE),
    'bmp grey': encoded('.bmp', GREYS),
    'bmp alpha': encoded('.bmp', ALPHA),
    'ppm': encoded('.ppm', NOISE),
    'pgm': encoded('.pgm', GREYS),
    'pbm': encoded('.pbm', GREYS),
    'pgm ascii': b'P2\n# a comment\n56 40\n255\n' + ASCII + b'\n',
    'webp': encoded('.webp', NOISE),
    'webp lossless': encoded('.webp', NOISE, cv2.IMWRITE_WEBP_QUALITY, 101),
    'webp alpha': encoded('.webp', ALPHA),
    'tiff': TIFF,
    'tiff grey': encoded('.tiff', GREYS),
    'tiff 16 bits': encoded('.tiff', NOISE.astype(np.uint16)),
    'tiff plain': encoded('.tiff', NOISE, cv2.IMWRITE_TIFF_COMPRESSION, 1),
    'tiff deflate': encoded('.tiff', NOISE, cv2.IMWRITE_TIFF_COMPRESSION, 8),
}
TEXT = b'Title\0\0' + zlib.compress(bytes(8 * 2**20), 9)  # 8 KB that become 8 MB


def inspected(data: bytes, pixels: int = PIXELS) -> formats.Header:
    return formats.inspect(np.frombuffer(data, np.uint8), pixels)


def decoded(data: bytes) -> np.ndarray:
    return formats.decode(inspected(data), cv2.IMREAD_COLOR)


@pytest.mark.parametrize('name', WHOLE)
def test_every_format_is_read_with_its_size(name: str) -> None:
    data = WHOLE[name]
    header = inspected(data)
    assert (header.height, header.width) == (40, 56)
    assert header.kind.lower() in (name.split()[0], 'pnm')
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded(data), whole)


@pytest.mark.parametrize('name', WHOLE)
def test_a_picture_cut_in_half_is_refused(name: str) -> None:
    with pytest.raises(FrameCorrupt):
        decoded(WHOLE[name][: len(WHOLE[name]) // 2])


@pytest.mark.parametrize('name', WHOLE)
def test_bytes_behind_a_picture_do_no_harm(name: str) -> None:
    assert np.array_equal(decoded(WHOLE[name] + bytes(100_000)), decoded(WHOLE[name]))


@pytest.mark.parametrize('name', WHOLE)
def test_the_limit_of_pixels_holds_for_every_format(name: str) -> None:
    assert inspected(WHOLE[name], 40 * 56)
    with pytest.raises(FrameOversized, match='56x40 exceeds 2,239 pixels'):
        inspected(WHOLE[name], 40 * 56 - 1)


def test_a_jpeg_tells_of_its_scans_before_they_cost_time() -> None:
    most = jpeg.MAX_SCANS
    assert decoded(progressive_jpeg(64, 48, most)).shape == (48, 64, 3)
    with pytest.raises(FrameEncodingUnknown, match='1,000 scans'):
        inspected(progressive_jpeg(64, 48, 1000))


def test_scans_that_hide_behind_an_end_marker_are_not_decoded() -> None:
    scans = progressive_jpeg(64, 48, 1000)
    first = scans.index(b'\xff\xda', scans.index(b'\xff\xda') + 2)
    hidden = scans[:first] + segment(0xFE, b'\xff\xd9') + scans[first:]
    assert len(inspected(hidden).data) < 300


def test_scans_of_single_channels_are_counted_without_a_progressive_header() -> None:
    place = JPEG.index(b'\xff\xda')
    one = segment(0xDA, b'\1\1\0\0\x3f\0') + bytes(20)
    with pytest.raises(FrameEncodingUnknown, match='scans'):
        inspected(JPEG[:place] + 100 * one + b'\xff\xd9')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (b'\xff\xc0\x00\x11\x08', b'\xff\xc9\x00\x11\x08', 'SOF9'),
        (b'\xff\xc0\x00\x11\x08', b'\xff\xc3\x00\x11\x08', 'SOF3'),
        (b'\xff\xc0\x00\x11\x08', b'\xff\xc1\x00\x11\x0c', '12 bits'),
    ],
)
def test_rare_kinds_of_jpeg_are_refused(old: bytes, new: bytes, message: str) -> None:
    assert old in JPEG
    with pytest.raises(FrameEncodingUnknown, match=message):
        inspected(JPEG.replace(old, new))


def test_a_jpeg_with_two_sizes_is_refused() -> None:
    place = JPEG.index(b'\xff\xc0')
    frame = JPEG[place : place + 19]
    with pytest.raises(FrameCorrupt, match='two sizes'):
        inspected(JPEG[:place] + frame + JPEG[place:])


@pytest.mark.parametrize('length', [2**31 - 1, 2**31, 2**32 - 1, 13, 2**28])
@pytest.mark.parametrize('kind', [b'IDAT', b'IEND', b'tEXt', b'PLTE', b'abcd'])
def test_a_chunk_that_claims_more_than_the_data_is_refused(kind: bytes, length: int) -> None:
    lying = PNG_START + png_header(8, 8) + struct.pack('>I', length) + kind + bytes(12)
    with pytest.raises(FrameCorrupt, match='cut off or damaged'):
        inspected(lying)


@pytest.mark.parametrize('kind', [b'zTXt', b'iTXt', b'iCCP', b'tEXt', b'eXIf', b'acTL', b'abCd'])
def test_what_makes_no_picture_does_not_reach_the_decoder(kind: bytes) -> None:
    data = inspected(with_chunks(PNG, 3 * chunk(kind, TEXT))).data.tobytes()
    assert data == PNG


def test_the_rest_of_an_animation_is_left_out() -> None:
    control = chunk(b'acTL', struct.pack('>II', 1000, 0))
    frame = chunk(b'fcTL', struct.pack('>IIIIIHHBB', 0, 56, 40, 0, 0, 1, 1, 0, 0))
    assert np.array_equal(decoded(with_chunks(PNG, control + frame)), NOISE)


def test_transparency_changes_no_colour() -> None:
    palette = black_png(56, 40, 8, PALETTE)
    place = palette.index(b'IDAT') - 4
    clear = palette[:place] + chunk(b'tRNS', bytes(256)) + palette[place:]
    assert np.array_equal(decoded(clear), decoded(palette))


def test_a_png_of_endless_chunks_is_refused() -> None:
    with pytest.raises(FrameEncodingUnknown, match=f'{png.MAX_CHUNKS:,} chunks'):
        inspected(with_chunks(PNG, (png.MAX_CHUNKS + 1) * chunk(b'IDAT', b'')))


@pytest.mark.parametrize(
    'data',
    [
        PNG_START + png_header(8, 8) + PNG[8:],
        PNG_START + chunk(b'IDAT', b'') + PNG[8:],
        PNG_START + chunk(b'IHDR', bytes(12)) + PNG[33:],
        PNG_START + chunk(b'IEND', b''),
    ],
)
def test_a_png_with_a_wrong_header_is_refused(data: bytes) -> None:
    with pytest.raises(FrameCorrupt, match='header'):
        inspected(data)


@pytest.mark.parametrize(
    ('data', 'error'),
    [
        (png_claiming(1000, 1000), FrameCorrupt),
        (png_claiming(0, 10), FrameEmpty),
        (png_claiming(2**31, 2**31), FrameOversized),
        (jpeg_claiming(JPEG, 65500, 65500), FrameOversized),
        (jpeg_claiming(encoded('.jpg', GREYS[:8, :8]), 1000, 1000), FrameCorrupt),
        (gif_claiming(65535, 65535), FrameEncodingUnknown),
        (tiff({256: 4, 257: 4, 278: 2**24}), FrameOversized),  # strips
        (tiff({256: 4, 257: 4, 322: 2**14, 323: 2**14}), FrameOversized),  # tiles
        (tiff({256: 4, 257: 4, 259: 7}), FrameEncodingUnknown),  # JPEG in a TIFF
        (tiff({256: 4, 257: 4, 258: 64}), FrameEncodingUnknown),
        (tiff({256: 4, 257: 4, 277: 65535}), FrameEncodingUnknown),
        (tiff({256: 4, 257: 4, 279: 1000}), FrameCorrupt),  # a strip longer than the file
        (tiff({256: 4}), FrameCorrupt),
        (b'#?RADIANCE\n\n-Y 60000 +X 60000\n', FrameEncodingUnknown),
        (b'P7\nWIDTH 60000\nHEIGHT 60000\n', FrameEncodingUnknown),
        (b'P6\n60000 60000 255\n', FrameOversized),
        (b'P6\n5# 5\n60000 60000\n255\n', FrameCorrupt),
        (b'\0\0\0\x0cjP  \r\n\x87\n', FrameEncodingUnknown),
        (b'RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0\1\0\0\1\0\0', FrameEncodingUnknown),
        (b'\x89', FrameEncodingUnknown),
    ],
)
def test_claims_are_refused_before_anything_is_decoded(
    data: bytes, error: type[FrameError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(error) as caught:
        inspected(data)
    assert '\n' not in str(caught.value)


def test_further_pages_of_a_tiff_are_cut_off() -> None:
    grey = {256: 8, 257: 8, 258: 8, 277: 1, 278: 8}
    page = decoded(tiff(grey, bytes(64)))
    looped = tiff(grey, bytes(64), next_page=72)
    assert inspected(looped).data[-4:].tolist() == [0, 0, 0, 0]
    assert np.array_equal(decoded(looped), page)


# What fits anywhere in a header, and is the most, the least or just beyond in some field.
EXTREMES = st.sampled_from(
    (0, 1, 2, 255, 256, 65535, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
)
NUMBERS = st.tuples(
    st.integers(0, 10**6),
    EXTREMES | st.integers(0, 2**32 - 1),
    st.sampled_from(('<I', '>I', '<H', '>H', 'B')),
)
KINDS = (b'IHDR', b'IDAT', b'PLTE', b'tRNS', b'zTXt', b'acTL', b'fcTL', b'fdAT', b'IEND')
CHUNKS = st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=40)), max_size=8)
TAGS = st.dictionaries(
    st.sampled_from((256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 322, 323, 324, 325, 338)),
    EXTREMES | st.integers(0, 300),
)
SEGMENTS = st.lists(st.tuples(st.integers(0xC0, 0xFE), st.binary(max_size=30)), max_size=8)


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """Give the bytes of a picture that was damaged or made up."""
    how = draw(st.integers(0, 4))
    if how == 0:
        parts = b''.join(chunk(kind, data) for kind, data in draw(CHUNKS))
        size = png_header(draw(EXTREMES), draw(EXTREMES), 8, draw(st.sampled_from((2, 3, 6))))
        return PNG_START + size + parts + chunk(b'IEND', b'')
    if how == 1:
        return tiff({256: 40, 257: 40, **draw(TAGS)}, draw(st.binary(min_size=1, max_size=99)))
    if how == 2:
        parts = b''.join(segment(marker, data) for marker, data in draw(SEGMENTS))
        return b'\xff\xd8' + parts + JPEG[2:]
    data = bytearray(WHOLE[draw(st.sampled_from(sorted(WHOLE)))])
    for place, value, form in draw(st.lists(NUMBERS, min_size=1, max_size=6)):
        size = struct.calcsize(form)
        place %= min(len(data), 64 if value % 2 else len(data)) - size
        struct.pack_into(form, data, place, value % 256**size)
    if how == 4:
        del data[draw(st.integers(1, len(data))) :]
    return bytes(data)


@settings(max_examples=600)
@given(hostile())
def taken_or_refused(data: bytes) -> None:
    try:
        picture = decoded(data)
    except FrameError as error:
        assert str(error) and '\n' not in str(error)
    else:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3


def measure() -> int:
    """Return the most memory that hostile pictures took in this process, in KiB."""
    # The largest that are allowed, in the formats that cost the most.
    largest = (
        black_png(1024, 1024, 16, COLOUR_ALPHA, interlaced=True),
        progressive_jpeg(1024, 1024, jpeg.MAX_SCANS),
        encoded('.webp', np.zeros((1024, 1024, 4), np.uint8)),
        with_chunks(black_png(1024, 1024, 8, COLOUR), 300 * chunk(b'zTXt', TEXT)),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in largest:
        decoded(data)
    taken_or_refused()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def test_no_bytes_raise_another_error_or_take_more_memory_than_their_pixels() -> None:
    here = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, '-c', 'import test_formats; print(test_formats.measure())'],
        cwd=here,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join((str(here.parent), *sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 32 * PIXELS / 1024  # 32 bytes a pixel
