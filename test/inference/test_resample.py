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
"""The centre that is cut out and the way it is shrunk."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_messages import SMALL, SQUEEZENET, apart, picture
from sqz_perception.inference.resample import centre, shrink, shrink_pairs
from sqz_perception.model.network import InputSpec

SIDES = st.integers(1, 5000)


@st.composite
def specs(draw: st.DrawFn) -> InputSpec:
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    return InputSpec(height, width, max(height, width) + draw(st.integers(0, 100)))


@given(SIDES, SIDES, specs(), st.sampled_from((1, 2)))
def test_the_centre_lies_inside_on_whole_blocks(
    height: int, width: int, spec: InputSpec, block: int
) -> None:
    height, width = height * block, width * block
    part = centre(height, width, spec, block)
    assert part.top >= 0 and part.height > 0 and part.top + part.height <= height
    assert part.left >= 0 and part.width > 0 and part.left + part.width <= width
    assert part.top % block == 0 and part.left % block == 0


@given(SIDES, SIDES, specs())
def test_the_centre_is_less_than_a_pixel_of_the_result_from_where_it_belongs(
    height: int, width: int, spec: InputSpec
) -> None:
    part = centre(height, width, spec)
    scale = min(height, width) / spec.resize  # pixels of the picture for one of the result
    for begin, side, limit, target in (
        (part.top, part.height, height, spec.height),
        (part.left, part.width, width, spec.width),
    ):
        exact = (limit - target * scale) / 2
        assert abs(begin - exact) < max(1.5, scale)
        assert abs(begin + side - (limit - exact)) < max(2.0, scale)


@given(st.integers(0, 200), specs())
def test_a_picture_of_the_right_size_is_cut_exactly(more: int, spec: InputSpec) -> None:
    part = centre(spec.resize, spec.resize + more, spec)
    assert (part.height, part.width) == (spec.height, spec.width)
    assert part.top == (spec.resize - spec.height) // 2
    assert part.left == (spec.resize + more - spec.width) // 2


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from((1, 2, 3, 4)),
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    value=st.integers(0, 255),
)
def test_a_flat_picture_stays_flat_in_every_size(
    height: int, width: int, channels: int, rows: int, columns: int, value: int
) -> None:
    flat = np.full((height, width, channels), value, np.uint8)
    result = shrink(flat, rows, columns)
    assert result.shape[:2] == (rows, columns) and result.flags.c_contiguous
    assert not np.shares_memory(result, flat)
    assert (result == value).all()


@pytest.mark.parametrize('size', [(480, 640), (720, 1280), (1080, 1920), (375, 500), (2160, 3840)])
@pytest.mark.parametrize('spec', [SQUEEZENET, SMALL])
def test_it_shrinks_as_cleanly_as_an_area_mean(size: tuple[int, int], spec: InputSpec) -> None:
    """Fine texture must become grey, not a pattern: plain bilinear is several times worse."""
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 256, (*size, 3), np.uint8)
    view = centre(*size, spec).of(texture)
    target = (spec.width, spec.height)
    ours = shrink(view, spec.height, spec.width).std()
    area = cv2.resize(view, target, interpolation=cv2.INTER_AREA).std()
    linear = cv2.resize(view, target, interpolation=cv2.INTER_LINEAR).std()
    assert ours < 1.3 * area + 1
    assert ours < linear


@pytest.mark.parametrize('size', [(480, 640), (720, 1280), (1080, 1920)])
@pytest.mark.parametrize('spec', [SQUEEZENET, SMALL])
def test_it_shows_what_an_area_mean_of_the_same_part_shows(
    size: tuple[int, int], spec: InputSpec
) -> None:
    view = centre(*size, spec).of(picture(*size))
    area = cv2.resize(view, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
    assert apart(shrink(view, spec.height, spec.width), area) < 1.5


def test_pairs_of_pixels_are_shrunk_as_pixels_are() -> None:
    grey = cv2.cvtColor(picture(720, 1280), cv2.COLOR_BGR2GRAY)
    pairs = shrink_pairs(grey.reshape(720, 640, 2), 90, 160).astype(int)
    assert apart(pairs.mean(axis=2), shrink(grey, 90, 160)) < 1.0


def test_sixteen_bits_stay_sixteen_bits() -> None:
    ramp = np.tile(np.arange(0, 64000, 100, dtype=np.uint16), (640, 1))
    result = shrink(ramp, 40, 40)
    assert result.dtype == np.uint16
    assert np.abs(result[0].astype(int) - ramp[0].reshape(40, 16).mean(axis=1)).max() < 2
