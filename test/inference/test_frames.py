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
"""Messages that lie are refused by name; the others become pictures."""

from __future__ import annotations

import array
import importlib.util
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_messages import SMALL, SQUEEZENET, apart, compressed, crop, image, padded, picture
from sqz_perception.errors import (
    FrameCorrupt,
    FrameEmpty,
    FrameEncodingUnknown,
    FrameError,
    FrameOversized,
    FrameTruncated,
)
from sqz_perception.inference.encodings import ENCODINGS
from sqz_perception.inference.frames import (
    MAX_TAIL,
    convert,
    fit,
    from_compressed,
    from_image,
    overview,
)
from sqz_perception.model.network import InputSpec

BGR = picture(48, 64)
UINT32 = st.one_of(st.integers(0, 70), st.integers(0, 2**32 - 1))


def bgr_image(bgr: np.ndarray = BGR, **fields: object) -> SimpleNamespace:
    message = image(bgr.reshape(len(bgr), -1), bgr.shape[1], 'bgr8')
    message.__dict__.update(fields)
    return message


def test_a_picture_of_the_right_size_is_only_cut() -> None:
    bgr = picture(256, 341)
    result = fit(bgr, SQUEEZENET)
    assert np.array_equal(result, crop(bgr, 227, 227))
    assert result.flags.c_contiguous and not np.shares_memory(result, bgr)


@pytest.mark.parametrize('size', [(1, 1), (1, 700), (700, 1), (5, 3), (31, 33), (480, 640)])
@pytest.mark.parametrize('spec', [SQUEEZENET, SMALL, InputSpec(20, 30, 40), InputSpec(1, 1, 1)])
def test_any_picture_fits(size: tuple[int, int], spec: InputSpec) -> None:
    flat = np.full((*size, 3), (10, 100, 250), np.uint8)
    result = fit(flat, spec)
    assert result.shape == (spec.height, spec.width, 3)
    assert (result == (10, 100, 250)).all()


def test_a_picture_without_pixels_does_not_fit() -> None:
    with pytest.raises(FrameEmpty):
        fit(np.empty((0, 5, 3), np.uint8), SMALL)


@pytest.mark.parametrize(
    'kind', [bytes, bytearray, memoryview, lambda data: array.array('B', data),
             lambda data: np.frombuffer(data, np.uint8)]
)  # fmt: skip
def test_data_may_be_any_buffer_of_bytes(kind) -> None:
    raw = bgr_image(data=kind(BGR.tobytes()))
    assert np.array_equal(from_image(raw, SMALL), fit(BGR, SMALL))
    png = compressed('png', BGR)
    png.data = kind(png.data.tobytes())
    assert np.array_equal(from_compressed(png, SMALL), fit(BGR, SMALL))


@pytest.mark.parametrize('data', [None, [1, 2, 3], 'text', 5, memoryview(bytes(20_000))[::2]])
def test_other_data_is_refused(data: object) -> None:
    with pytest.raises(FrameCorrupt):
        from_image(bgr_image(data=data), SMALL)
    with pytest.raises(FrameCorrupt):
        from_compressed(SimpleNamespace(format='jpeg', data=data), SMALL)


@pytest.mark.parametrize(
    ('fields', 'error', 'says'),
    [
        ({'height': 0}, FrameEmpty, '64x0'),
        ({'width': 0}, FrameEmpty, '0x48'),
        ({'data': b''}, FrameEmpty, 'no data'),
        ({'height': 49}, FrameTruncated, '9,408 bytes, the message has 9,216'),
        ({'step': 193}, FrameTruncated, '9,264 bytes, the message has 9,216'),
        ({'step': 0}, FrameTruncated, 'at least 192 bytes'),
        ({'step': 191}, FrameTruncated, 'at least 192 bytes'),
        ({'data': BGR.tobytes()[:-1]}, FrameTruncated, 'the message has 9,215'),
        ({'height': 70_000, 'width': 70_000}, FrameOversized, '33,554,432'),
        (
            {'height': 2**32 - 1, 'width': 2**32 - 1, 'step': 2**32 - 1},
            FrameOversized,
            '4294967295',
        ),
        ({'data': bytes(48 * 192 + MAX_TAIL + 1)}, FrameOversized, 'can not be true'),
        ({'encoding': 'yuv422', 'width': 63, 'step': 192}, FrameCorrupt, 'even'),
        ({'encoding': 'nv12', 'height': 47}, FrameCorrupt, 'even'),
        ({'encoding': 'nv12', 'step': 170}, FrameTruncated, '12,240'),
        ({'encoding': '32FC1'}, FrameEncodingUnknown, 'bgr8'),
        ({'encoding': ''}, FrameEncodingUnknown, 'bayer_rggb8'),
        ({'encoding': 'BGR8'}, FrameEncodingUnknown, "'BGR8' is not supported"),
    ],
)
def test_a_lying_image_is_refused_by_name(
    fields: dict, error: type[FrameError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        from_image(bgr_image(**fields), SMALL)
    assert '\n' not in str(caught.value)


def test_bytes_of_a_page_after_the_last_row_are_no_lie() -> None:
    raw = bgr_image(data=BGR.tobytes() + bytes(MAX_TAIL))
    assert np.array_equal(from_image(raw, SMALL), fit(BGR, SMALL))


@pytest.mark.parametrize('error', [MemoryError(), cv2.error('no memory')])
def test_what_opencv_can_not_do_is_a_frame_error(error: Exception, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    messages = bgr_image(picture(96, 128)), compressed('png', picture(96, 128))
    monkeypatch.setattr(cv2, 'resize', fail)
    for message in messages:
        for look in (lambda m: convert(m, SMALL), lambda m: overview(m, 50)):
            with pytest.raises(FrameCorrupt, match='OpenCV cannot resize'):
                look(message)


def test_each_kind_of_error_has_its_own_counter() -> None:
    kinds = [error.kind for error in FrameError.__subclasses__()]
    assert len(set(kinds)) == len(kinds) == 5


def test_rows_of_a_part_of_a_larger_picture() -> None:
    """The step of a region of interest is that of the whole picture."""
    whole = picture(600, 900)
    part = whole[100:580, 200:840]
    rows = np.frombuffer(whole.tobytes()[100 * 2700 + 600 :][: 480 * 2700], np.uint8)
    raw = image(rows.reshape(480, 2700), 640, 'bgr8')
    assert np.array_equal(from_image(raw, SQUEEZENET), fit(part, SQUEEZENET))


def test_one_function_takes_both_messages() -> None:
    assert np.array_equal(convert(bgr_image(), SMALL), fit(BGR, SMALL))
    assert np.array_equal(convert(compressed('png', BGR), SMALL), fit(BGR, SMALL))


@pytest.mark.parametrize('message', [bgr_image(), compressed('png', BGR), compressed('jpeg', BGR)])
def test_the_caller_limits_the_pixels(message: SimpleNamespace) -> None:
    pixels = 48 * 64
    assert convert(message, SMALL, max_pixels=pixels).shape == (32, 32, 3)
    assert overview(message, 32, max_pixels=pixels).shape == (24, 32, 3)
    for refused in (
        lambda: convert(message, SMALL, max_pixels=pixels - 1),
        lambda: overview(message, 32, max_pixels=pixels - 1),
    ):
        with pytest.raises(FrameOversized, match='64x48.* exceeds 3,071 pixels; .*max_pixels'):
            refused()


@pytest.mark.parametrize(
    ('size', 'wanted'),
    [
        ((720, 1280), (360, 640)),
        ((1280, 720), (640, 360)),
        ((48, 64), (48, 64)),
        ((3, 900), (2, 640)),
    ],
)
def test_the_overview_shows_all_of_a_frame(size, wanted) -> None:
    bgr = picture(*size)
    bgr[:, : size[1] // 10] = (0, 0, 255)  # what a cut centre would miss
    for message in (bgr_image(bgr), compressed('png', bgr)):
        shown = overview(message, 640)
        assert shown.shape == (*wanted, 3)
        assert apart(shown[:, : wanted[1] // 12], np.uint8([0, 0, 255])) < 1


@given(
    height=UINT32,
    width=UINT32,
    step=UINT32,
    encoding=st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=12)),
    is_bigendian=st.integers(0, 255),
    data=st.binary(max_size=2000),
    spec=st.sampled_from((SQUEEZENET, SMALL, InputSpec(3, 2, 5))),
)
def test_any_message_gives_a_frame_error_at_worst(spec: InputSpec, **fields) -> None:
    _taken_or_refused(SimpleNamespace(**fields), spec)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    more=st.integers(0, 9),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    is_bigendian=st.booleans(),
    spec=st.builds(lambda h, w, d: InputSpec(h, w, max(h, w) + d), *3 * [st.integers(2, 12)]),
    seed=st.integers(0, 9),
)
def test_every_honest_frame_is_taken(
    height: int,
    width: int,
    more: int,
    encoding: str,
    is_bigendian: bool,
    spec: InputSpec,
    seed: int,
) -> None:
    layout = ENCODINGS[encoding]
    height, width = height * layout.even[0], width * layout.even[1]
    step = layout.row_bytes(width) + more
    size = layout.total_rows(height) * step
    data = np.random.default_rng(seed).integers(0, 256, size, np.uint8).tobytes()
    fields = {'height': height, 'width': width, 'step': step, 'encoding': encoding}
    message = SimpleNamespace(is_bigendian=is_bigendian, data=data, **fields)
    result = from_image(message, spec)
    assert result.shape == (spec.height, spec.width, 3) and result.dtype == np.uint8


def _taken_or_refused(message: SimpleNamespace, spec: InputSpec) -> None:
    try:
        result = from_image(message, spec)
    except FrameError as error:
        assert str(error) and '\n' not in str(error)
    else:
        assert result.shape == (spec.height, spec.width, 3) and result.dtype == np.uint8


def ros_cv_bridge():
    """Return a CvBridge of a ROS distribution; PyPI's port reads rows without their step."""
    pytest.importorskip('cv_bridge', reason='cv_bridge comes with a ROS distribution')
    compiled = importlib.util.find_spec('cv_bridge.boost.cv_bridge_boost')
    if compiled is None or str(compiled.origin).endswith('.py'):
        pytest.skip('this cv_bridge is the port on PyPI, not that of a ROS distribution')
    if int(np.__version__.split('.')[0]) > 1:
        pytest.skip('cv_bridge built against NumPy 1 ends the process with NumPy 2')
    from cv_bridge import CvBridge

    return CvBridge()


@pytest.mark.ros
@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
def test_cv_bridge_says_the_same(encoding: str) -> None:
    bridge = ros_cv_bridge()
    from sensor_msgs.msg import Image

    bgr = picture(480, 640)
    rows = bgr[..., 0] if encoding == 'mono8' else bgr.reshape(480, -1)
    plain = image(padded(rows, 12), 640, encoding)
    message = Image(**plain.__dict__)
    wanted = fit(bridge.imgmsg_to_cv2(message, 'bgr8'), SQUEEZENET)
    assert np.array_equal(from_image(message, SQUEEZENET), wanted)
