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
"""JPEG and PNG: what is decoded, how far it is reduced, and what is refused."""

from __future__ import annotations

import re
import struct
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_messages import SMALL, SQUEEZENET, apart, compressed, crop, picture
from hostile_pictures import black_png, encoded, jpeg_claiming, png_claiming, progressive_jpeg
from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameError,
    FrameOversized,
)
from sqz_perception.inference.compressed import decode
from sqz_perception.inference.encodings import ENCODINGS, Frame
from sqz_perception.inference.frames import fit, from_compressed

JPEG = compressed('jpeg', picture(90, 120)).data.tobytes()
PNG = compressed('png', picture(90, 120)).data.tobytes()


def message(data: bytes, name: str = 'jpeg') -> SimpleNamespace:
    return SimpleNamespace(format=name, data=data)


def as_array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


@pytest.mark.parametrize('size', [(256, 336), (480, 640), (720, 1280), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize('spec', [SQUEEZENET, SMALL])
def test_a_reduced_jpeg_shows_what_the_whole_one_shows(size, spec) -> None:
    whole = compressed('jpeg', picture(*size))
    wanted = fit(cv2.imdecode(as_array(whole.data.tobytes()), cv2.IMREAD_COLOR), spec)
    assert apart(from_compressed(whole, spec), wanted) < 2


@pytest.mark.parametrize(
    ('size', 'short', 'wanted'),
    [
        ((720, 1280), 256, (360, 640)),
        ((720, 1280), 90, (90, 160)),
        ((1080, 1920), 256, (270, 480)),
        ((1280, 720), 32, (160, 90)),
        ((511, 900), 256, (256, 450)),
        ((509, 900), 256, (509, 900)),
        ((100, 100), 256, (100, 100)),
    ],
)
def test_a_jpeg_is_reduced_as_far_as_its_short_side_allows(size, short, wanted) -> None:
    data = as_array(compressed('jpeg', picture(*size)).data.tobytes())
    assert decode(data, 'jpeg', short).shape == (*wanted, 3)


def test_the_orientation_in_exif_is_not_applied() -> None:
    """Orientation 6 asks for a quarter turn; whole and reduced must both stay as they are."""
    bgr = picture(720, 1280)
    plain = compressed('jpeg', bgr).data.tobytes()
    tiff = b'Exif\0\0MM\0*\0\0\0\x08' + struct.pack('>HHHIHHI', 1, 0x112, 3, 1, 6, 0, 0)
    turned = plain[:2] + b'\xff\xe1' + struct.pack('>H', len(tiff) + 2) + tiff + plain[2:]
    assert cv2.imdecode(as_array(turned), cv2.IMREAD_COLOR).shape == (1280, 720, 3)
    for short in (32, 256, 700):
        assert np.array_equal(
            decode(as_array(turned), 'jpeg', short), decode(as_array(plain), 'jpeg', short)
        )


@pytest.mark.parametrize('kind', ['bgr', 'grey', 'alpha', 'bgr16', 'grey16', 'alpha16'])
def test_every_kind_of_png(kind: str) -> None:
    bgr = picture(256, 342)
    source = bgr
    if kind.startswith('grey'):
        source = bgr[..., 1]
        bgr = np.dstack([source] * 3)
    if kind.startswith('alpha'):
        source = np.dstack([bgr, np.zeros(bgr.shape[:2], np.uint8)])
    if kind.endswith('16'):
        source = source.astype(np.uint16) * 257
    result = from_compressed(compressed('png', source), SQUEEZENET)
    assert np.array_equal(result, crop(bgr, 227, 227))


def test_a_grey_jpeg() -> None:
    grey = picture(256, 342)[..., 1]
    result = from_compressed(compressed('jpeg', grey), SQUEEZENET)
    assert apart(result, np.dstack([crop(grey, 227, 227)] * 3)) < 6


@pytest.mark.parametrize(
    'name', ['jpeg', 'JPEG', 'png', '', 'rgb8; jpeg compressed bgr8', 'bgr8; png compressed bgr8']
)
def test_the_bytes_tell_the_format_not_its_name(name: str) -> None:
    assert from_compressed(message(JPEG, name), SMALL).shape == (32, 32, 3)
    assert from_compressed(message(PNG, name), SMALL).shape == (32, 32, 3)


BGR = picture(64, 96)
RGB = BGR[..., ::-1].copy()


@pytest.mark.parametrize(
    ('name', 'stored'),
    [
        ('png', BGR),
        ('bgr8; png compressed bgr8', BGR),
        ('rgb8; png compressed bgr8', BGR),  # what image_transport writes
        ('rgb16; png compressed bgr16', BGR.astype(np.uint16) * 257),
        ('bgra8; png compressed bgr8', BGR),
        ('yuv422; png compressed bgr8', BGR),
        ('8UC3; png compressed ', BGR),
        ('rgb8; png compressed ', RGB),
        ('rgb8; png compressed rgb8', RGB),
        ('bgr8; png compressed rgb8', RGB),
        ('bgr8; png compressed ', RGB),
        ('rgba8; png compressed ', np.dstack([RGB, RGB[..., :1]])),
    ],
)
def test_red_and_blue_are_where_image_transport_puts_them(name: str, stored: np.ndarray) -> None:
    assert np.array_equal(decode(as_array(encoded('.png', stored)), name, 32), BGR)


def test_red_and_blue_of_a_reduced_jpeg_are_swapped_too() -> None:
    data = as_array(encoded('.jpg', picture(256, 256)[..., ::-1].copy()))
    swapped = decode(data, 'rgb8; jpeg compressed ', 32)
    assert np.array_equal(swapped, decode(data, 'rgb8; jpeg compressed bgr8', 32)[..., ::-1])
    assert swapped.shape == (32, 32, 3)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_compressed_mosaic_becomes_what_the_raw_one_becomes(pattern: str, bits: int) -> None:
    name = f'bayer_{pattern}{bits}'
    mosaic = picture(64, 96)[..., 0]
    raw = ENCODINGS[f'bayer_{pattern}8'].fit(Frame(mosaic.ravel(), 64, 96, 96), SMALL)
    stored = mosaic if bits == 8 else mosaic.astype(np.uint16) * 257
    png = encoded('.png', stored)
    assert np.array_equal(from_compressed(message(png, f'{name}; png compressed '), SMALL), raw)
    jpeg = encoded('.jpg', mosaic, cv2.IMWRITE_JPEG_QUALITY, 100)
    assert apart(from_compressed(message(jpeg, f'{name}; jpeg compressed '), SMALL), raw) < 2


@pytest.mark.parametrize('target', ['mono8', 'bgr8'])
def test_what_was_converted_before_it_was_compressed_is_no_mosaic(target: str) -> None:
    """compressed_image_transport of Humble and later converts a mosaic before it writes JPEG."""
    stored = BGR if target == 'bgr8' else BGR[..., 1]
    data = as_array(encoded('.png', stored))
    name = f'bayer_rggb8; jpeg compressed {target}'
    assert np.array_equal(decode(data, name, 32), decode(data, 'png', 32))


def test_a_mosaic_has_no_colours() -> None:
    with pytest.raises(FrameCorrupt, match='mosaic'):
        from_compressed(message(PNG, 'bayer_rggb8; png compressed '), SMALL)


@pytest.mark.parametrize('name', ['mono16; png compressed ', '16UC1; png compressed mono16'])
def test_grey_of_16_bits_is_taken_as_from_a_raw_frame(name: str) -> None:
    grey = BGR[..., 1]
    shown = decode(as_array(encoded('.png', grey.astype(np.uint16) * 257)), name, 32)
    assert np.array_equal(shown, np.dstack([grey] * 3))


@pytest.mark.parametrize(
    'name',
    [
        '16UC1; compressedDepth png',
        '32FC1; compressedDepth',
        '32FC1; png compressed ',
        '16SC1; png compressed ',
        'bayer_rgbw8; png compressed ',
        'bayer_rggb12; png compressed ',
    ],
)
def test_distances_and_unknown_mosaics_are_refused_whatever_the_bytes(name: str) -> None:
    for data in (PNG, JPEG, bytes(12) + PNG):
        with pytest.raises(FrameEncodingUnknown, match=re.escape(name)):
            from_compressed(message(data, name), SMALL)


def test_the_frame_path_limits_scans_and_pixels() -> None:
    with pytest.raises(FrameEncodingUnknown, match='1,000 scans.*plain JPEG'):
        from_compressed(message(progressive_jpeg(64, 48, 1000)), SMALL)
    with pytest.raises(FrameOversized, match='8192x8192 .*lower the resolution'):
        from_compressed(message(black_png(8192, 8192, 1, 0)), SMALL)
    with pytest.raises(FrameOversized, match='max_pixels'):
        from_compressed(message(PNG), SMALL, max_pixels=90 * 120 - 1)


@pytest.mark.parametrize('name', ['h264', 'tiff', '', '16UC1; compressedDepth png', 'x' * 5000])
def test_other_formats_are_refused_with_what_is_taken(name: str) -> None:
    with pytest.raises(FrameEncodingUnknown, match='JPEG or PNG') as caught:
        from_compressed(message(b'\0\0\0\1\x67' + JPEG, name), SMALL)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize('name', ['jpeg', 'bgr8; png compressed bgr8'])
def test_no_picture_where_one_is_promised(name: str) -> None:
    with pytest.raises(FrameCorrupt, match='begins with'):
        from_compressed(message(b'not a picture', name), SMALL)


@pytest.mark.parametrize('kept', [3, 20, 200, 700, len(JPEG) // 2, len(JPEG) - 2, len(JPEG) - 1])
@pytest.mark.parametrize('filling', [b'', bytes(5000)])
def test_a_jpeg_cut_short_is_refused_also_when_it_is_filled_up(kept: int, filling: bytes) -> None:
    with pytest.raises(FrameCorrupt):
        from_compressed(message(JPEG[:kept] + filling), SMALL)


def test_a_thumbnail_s_end_is_not_the_end_of_the_picture() -> None:
    thumbnail = b'Exif\0\0' + JPEG[:2000] + b'\xff\xd9'
    segment = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 2) + thumbnail
    whole = JPEG[:2] + segment + JPEG[2:]
    assert from_compressed(message(whole), SMALL).shape == (32, 32, 3)
    with pytest.raises(FrameCorrupt):
        from_compressed(message(whole[:-100]), SMALL)


@pytest.mark.parametrize('data', [JPEG, PNG])
@pytest.mark.parametrize('tail', [bytes(100_000), b'rubbish', PNG, JPEG])
def test_bytes_after_the_end_of_a_picture_do_no_harm(data: bytes, tail: bytes) -> None:
    wanted = from_compressed(message(data), SMALL)
    assert np.array_equal(from_compressed(message(data + tail), SMALL), wanted)


@pytest.mark.parametrize('kept', [8, 20, 33, 60, len(PNG) // 2, len(PNG) - 12, len(PNG) - 9])
def test_a_png_cut_short_is_refused(kept: int) -> None:
    with pytest.raises(FrameCorrupt):
        from_compressed(message(PNG[:kept]), SMALL)


@given(st.integers(41, len(PNG) - 20), st.integers(0, 7))
def test_a_png_with_one_bit_changed_is_refused(place: int, bit: int) -> None:
    damaged = bytearray(PNG)
    damaged[place] ^= 1 << bit
    with pytest.raises(FrameCorrupt):
        from_compressed(message(bytes(damaged)), SMALL)


@pytest.mark.parametrize('make', [png_claiming, partial(jpeg_claiming, JPEG)])
def test_a_picture_is_refused_for_its_claim_before_it_is_decoded(make, monkeypatch) -> None:
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    with pytest.raises(FrameOversized, match='65000x65000'):
        from_compressed(message(make(65000, 65000)), SMALL)
    with pytest.raises(FrameCorrupt, match='cannot fit in'):
        from_compressed(message(make(5000, 5000)), SMALL)
    with pytest.raises(FrameEmpty):
        from_compressed(message(make(0, 100)), SMALL)


def test_a_flat_picture_takes_few_bytes_and_is_still_taken() -> None:
    flat = np.full((2160, 3840, 3), 128, np.uint8)
    for kind in ('jpeg', 'png'):
        assert (from_compressed(compressed(kind, flat), SMALL) == 128).all()


def test_a_header_without_end_is_given_up() -> None:
    with pytest.raises(FrameCorrupt):
        from_compressed(message(b'\xff\xd8' + b'\xff' * 1_000_000), SMALL)


@given(st.binary(max_size=300), st.text(max_size=30), st.sampled_from((b'', JPEG[:4], PNG[:33])))
def test_any_bytes_give_a_frame_error_at_worst(data: bytes, name: str, start: bytes) -> None:
    _taken_or_refused(start + data, name)


@given(
    st.sampled_from((JPEG, PNG)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(0, 10**6),
)
def test_mutated_pictures_give_a_frame_error_at_worst(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(data)
    for place, value in changes:
        # Half of the changes go to the first bytes, where the headers are.
        changed[place % (700 if value % 2 else len(data))] = value
    if cut % 3 == 0:
        del changed[cut % len(data) :]
    _taken_or_refused(bytes(changed), 'jpeg')


def _taken_or_refused(data: bytes, name: str) -> None:
    try:
        result = from_compressed(message(data, name), SMALL)
    except FrameError as error:
        assert '\n' not in str(error).strip() and str(error)
    else:
        assert result.shape == (32, 32, 3) and result.dtype == np.uint8
