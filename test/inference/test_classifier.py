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
"""The model in use is replaced between two pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqz_perception.errors import SwapRefused
from sqz_perception.inference.backend import Runtime
from sqz_perception.inference.classifier import Classifier
from sqz_perception.inference.loading import load
from sqz_perception.model import file
from tiny import tiny_model

FP32 = Runtime('openvino', 'fp32')


def test_swap_and_rollback(tmp_path: Path) -> None:
    file.write(tiny_model(1), tmp_path / 'one.sqz')
    file.write(tiny_model(2, release=2), tmp_path / 'two.sqz')
    one, two = (load(tmp_path / name, FP32) for name in ('one.sqz', 'two.sqz'))
    classifier = Classifier(one)
    with pytest.raises(SwapRefused, match='there is no earlier model'):
        classifier.rollback()
    assert classifier.current is one
    assert classifier.swap(two) is one
    assert classifier.current is two
    assert classifier.rollback() is two
    assert classifier.current is one
    assert classifier.swaps == 2
