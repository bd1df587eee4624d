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
"""Each encoding against OpenCV's conversion of the whole frame."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from frame_messages import SMALL, SQUEEZENET, apart, crop, image, padded, picture
from sqz_perception.inference.encodings import ENCODINGS
from sqz_perception.inference.frames import fit, from_image
from sqz_perception.model.network import InputSpec

EXACT = (256, 342)  # the short side is SQUEEZENET.resize: nothing is resampled
# OpenCV's names of later versions (COLOR_BayerRGGB2BGR) as numbers, which are older.
MOSAIC_CODES = {'rggb': 46, 'grbg': 47, 'bggr': 48, 'gbrg': 49}
LARGER = [(480, 640), (720, 1280), (1080, 1920)]


def packed_yuv(bgr: np.ndarray, order: str) -> np.ndarray:
    """Return the rows of a UYVY or YUYV frame, one colour for two pixels."""
    y, u, v = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV))
    places = {'y': y[:, 0::2], 'u': u[:, 0::2], 'v': v[:, 0::2], 'z': y[:, 1::2]}
    return np.stack([places[name] for name in order], axis=2).reshape(len(bgr), -1)


def two_planes(bgr: np.ndarray, order: str, shared: int) -> np.ndarray:
    """Return the rows of a semi-planar frame, one colour for shared x shared pixels."""
    y, u, v = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV))
    planes = [{'u': u, 'v': v}[name][::shared, ::shared] for name in order]
    return np.vstack([y, np.stack(planes, axis=2).reshape(-1, bgr.shape[1])])


def mosaic(bgr: np.ndarray, pattern: str) -> np.ndarray:
    """Return the Bayer mosaic whose first two rows begin with ``pattern``, read in rows."""
    result = np.empty(bgr.shape[:2], np.uint8)
    for place, name in enumerate(pattern):
        row, column = divmod(place, 2)
        result[row::2, column::2] = bgr[row::2, column::2, 'bgr'.index(name)]
    return result


def oracle(rows: np.ndarray, bgr_shape: tuple[int, int], encoding: str) -> np.ndarray:
    """Return OpenCV's conversion of a whole frame."""
    height, width = bgr_shape
    if encoding in ('uyvy', 'yuv422'):
        return cv2.cvtColor(rows.reshape(height, width, 2), cv2.COLOR_YUV2BGR_UYVY)
    if encoding in ('yuyv', 'yuv422_yuy2'):
        return cv2.cvtColor(rows.reshape(height, width, 2), cv2.COLOR_YUV2BGR_YUY2)
    code = {'nv12': cv2.COLOR_YUV2BGR_NV12, 'nv21': cv2.COLOR_YUV2BGR_NV21}[encoding]
    return cv2.cvtColor(rows, code)


def frame_rows(bgr: np.ndarray, encoding: str) -> np.ndarray:
    """Return ``bgr`` in a YUV encoding; its values are any, as the oracle starts from them."""
    if encoding.startswith('nv'):
        return two_planes(bgr, 'vu' if encoding == 'nv21' else 'uv', 2)
    return packed_yuv(bgr, 'uyvz' if encoding in ('uyvy', 'yuv422') else 'yuzv')


@pytest.mark.parametrize(
    ('encoding', 'order'), [('bgr8', 'bgr'), ('8UC3', 'bgr'), ('rgb8', 'rgb'), ('rgba8', 'rgba'),
                            ('bgra8', 'bgra')]
)  # fmt: skip
@pytest.mark.parametrize('size', [EXACT, *LARGER, (481, 639)])
def test_colours_find_their_places(encoding: str, order: str, size: tuple[int, int]) -> None:
    bgr = picture(*size)
    alpha = np.full(size, 7, np.uint8)
    planes = dict(zip('bgra', [*cv2.split(bgr), alpha], strict=True))
    rows = np.stack([planes[name] for name in order], axis=2).reshape(size[0], -1)
    result = from_image(image(padded(rows, 5), size[1], encoding), SQUEEZENET)
    assert np.array_equal(result, fit(bgr, SQUEEZENET))
    if size == EXACT:
        assert np.array_equal(result, crop(bgr, 227, 227))


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
@pytest.mark.parametrize('size', [EXACT, *LARGER, (481, 639)])
def test_grey_is_grey(encoding: str, size: tuple[int, int]) -> None:
    grey = cv2.cvtColor(picture(*size), cv2.COLOR_BGR2GRAY)
    result = from_image(image(padded(grey, 3), size[1], encoding), SQUEEZENET)
    assert np.array_equal(result, fit(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), SQUEEZENET))


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('order', ['<u2', '>u2'])
@pytest.mark.parametrize('padding', [0, 1, 6])
def test_sixteen_bits_in_either_order(encoding: str, order: str, padding: int) -> None:
    values = np.random.default_rng(2).integers(0, 65536, EXACT).astype(order)
    rows = padded(values.view(np.uint8), padding)
    message = image(rows, EXACT[1], encoding, is_bigendian=int(order == '>u2'))
    wanted = np.rint(crop(values, 227, 227) / 257).astype(np.uint8)  # as cv_bridge
    result = from_image(message, SQUEEZENET)
    assert all(np.array_equal(result[..., channel], wanted) for channel in range(3))


def test_a_large_frame_of_sixteen_bits_is_resized() -> None:
    grey = cv2.cvtColor(picture(720, 1280), cv2.COLOR_BGR2GRAY)
    rows = (grey.astype('<u2') * 257).view(np.uint8)
    wanted = fit(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), SQUEEZENET)
    assert apart(from_image(image(rows, 1280, 'mono16'), SQUEEZENET), wanted) < 0.5


@pytest.mark.parametrize('encoding', ['uyvy', 'yuv422', 'yuyv', 'yuv422_yuy2', 'nv12', 'nv21'])
@pytest.mark.parametrize('size', [EXACT, *LARGER, (512, 512), (1280, 720)])
@pytest.mark.parametrize('spec', [SQUEEZENET, SMALL])
def test_yuv_as_opencv_converts_it(encoding: str, size: tuple[int, int], spec: InputSpec) -> None:
    rows = frame_rows(picture(*size), encoding)
    message = image(padded(rows, 10), size[1], encoding, height=size[0])
    result = from_image(message, spec)
    wanted = fit(oracle(rows, size, encoding), spec)
    if min(size) < 2 * spec.resize:
        assert np.array_equal(result, wanted)
    else:
        assert apart(result, wanted) < 3
        assert np.abs(result.mean(axis=(0, 1)) - wanted.mean(axis=(0, 1))).max() < 1


@pytest.mark.parametrize('encoding', ['uyvy', 'nv12', 'nv24'])
@pytest.mark.parametrize('yuv', [(16, 128, 128), (235, 128, 128), (81, 90, 240), (145, 54, 34),
                                 (41, 240, 110), (0, 128, 128), (255, 255, 0)])  # fmt: skip
@pytest.mark.parametrize('size', [EXACT, (720, 1280)])
def test_flat_yuv_has_the_colour_of_bt601(
    encoding: str, yuv: tuple[int, int, int], size: tuple[int, int]
) -> None:
    y, u, v = yuv
    height, width = size
    flat = np.full((height * 3, width), y, np.uint8)
    flat[height:] = np.tile([u, v], width // 2)
    if encoding == 'uyvy':
        flat = np.tile(np.array([u, y, v, y], np.uint8), (height, width // 2))
    rows = flat[: ENCODINGS[encoding].total_rows(height)]
    result = from_image(image(rows, width, encoding, height=height), SQUEEZENET).astype(int)
    known = cv2.cvtColor(np.array([[[u, y], [v, y]]], np.uint8), cv2.COLOR_YUV2BGR_UYVY)[0, 0]
    assert np.abs(result - known.astype(int)).max() <= 1


def test_nv24_has_a_colour_for_each_pixel() -> None:
    """nv12's colours, each repeated for its four pixels, are the same picture in nv24."""
    half = two_planes(picture(*EXACT), 'uv', 2)
    colours = half[EXACT[0] :].reshape(EXACT[0] // 2, EXACT[1] // 2, 2)
    full = colours.repeat(2, axis=0).repeat(2, axis=1).reshape(-1, EXACT[1])
    rows = np.vstack([half[: EXACT[0]], full])
    result = from_image(image(rows, EXACT[1], 'nv24', height=EXACT[0]), SQUEEZENET)
    wanted = crop(oracle(half, EXACT, 'nv12'), 227, 227)
    assert np.abs(result.astype(int) - wanted).max() <= 2


def test_two_planes_whose_step_tells_of_both_are_read() -> None:
    rows = two_planes(picture(*EXACT), 'uv', 2)
    message = image(rows, EXACT[1], 'nv12', height=EXACT[0])
    wanted = from_image(message, SQUEEZENET)
    for factor in (1.5, 2):
        message.step = int(EXACT[1] * factor)
        assert np.array_equal(from_image(message, SQUEEZENET), wanted)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('colour', ['b', 'g', 'r'])
def test_a_mosaic_of_one_colour_is_that_colour(pattern: str, bits: int, colour: str) -> None:
    """ROS and OpenCV name the patterns differently: a red scene must come out red."""
    scene = np.zeros((480, 640, 3), np.uint8)
    scene[..., 'bgr'.index(colour)] = 200
    rows = mosaic(scene, pattern)
    if bits == 16:
        rows = (rows.astype('>u2') * 257).view(np.uint8)
    message = image(rows, 640, f'bayer_{pattern}{bits}', is_bigendian=1)
    assert np.array_equal(from_image(message, SQUEEZENET), fit(scene, SQUEEZENET))


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
@pytest.mark.parametrize('size', [EXACT, (257, 343), *LARGER, (481, 641)])
def test_a_mosaic_is_read_around_the_part_that_is_seen(
    pattern: str, size: tuple[int, int]
) -> None:
    """The mosaic of a crop gives the crop of the mosaic: its phase and its borders are right."""
    rows = mosaic(picture(*size), pattern)
    wanted = fit(cv2.cvtColor(rows, MOSAIC_CODES[pattern]), SQUEEZENET)
    message = image(padded(rows, 7), size[1], f'bayer_{pattern}8')
    assert np.array_equal(from_image(message, SQUEEZENET), wanted)


def test_a_mosaic_shows_its_scene() -> None:
    scene = cv2.GaussianBlur(picture(720, 1280), (0, 0), 3)
    for pattern in ('rggb', 'bggr', 'gbrg', 'grbg'):
        message = image(mosaic(scene, pattern), 1280, f'bayer_{pattern}8')
        assert apart(from_image(message, SQUEEZENET), fit(scene, SQUEEZENET)) < 1


@pytest.mark.parametrize('encoding', sorted(ENCODINGS))
def test_the_result_is_the_reader_s_own(encoding: str) -> None:
    """A picture that shared the message's memory would change with the next frame."""
    height, width = 32, 32
    step = ENCODINGS[encoding].row_bytes(width)
    data = np.full(ENCODINGS[encoding].total_rows(height) * step, 90, np.uint8)
    message = image(data.reshape(-1, step), width, encoding, height=height, data=data)
    result = from_image(message, SMALL)
    before = result.copy()
    data[:] = 200
    assert result.shape == (32, 32, 3) and result.dtype == np.uint8
    assert result.flags.c_contiguous and np.array_equal(result, before)
