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
"""Our results as ROS messages."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, LabelInfo, ObjectHypothesis, VisionClass, VisionInfo

from sqz_perception.inference.classifier import LoadedModel, Result


def text(value: object) -> str:
    """Return ``value`` as a text that a message can hold: file names may hold any bytes."""
    return str(value).encode('utf-8', 'replace').decode()


def classification(header: Header, results: Sequence[Result], class_id: str) -> Classification:
    """Return the results, best first; ``class_id``: by their 'label' or by their 'number'."""
    hypotheses = [
        ObjectHypothesis(class_id=str(r.index) if class_id == 'number' else r.label, score=r.score)
        for r in results
    ]
    return Classification(header=header, results=hypotheses)


def vision_info(model: LoadedModel, version: int) -> VisionInfo:
    """Return which model is in use. ``version`` rises with every swap."""
    return VisionInfo(
        method=f'{model.name} release {model.release}',
        database_location=text(f'{model.path}#sha256={model.identity}'),
        database_version=version,
    )


def label_info(model: LoadedModel, threshold: float) -> LabelInfo:
    """Return the model's labels, numbered in the order of its outputs."""
    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(model.labels)]
    return LabelInfo(class_map=classes, threshold=threshold)


def image(header: Header, picture: NDArray[np.uint8]) -> Image:
    """Return ``picture``, uint8 (rows, columns, 3) in BGR, as a bgr8 message."""
    height, width = picture.shape[:2]
    # An array.array is taken as it is; bytes would be checked and copied one by one.
    data = array.array('B', np.ascontiguousarray(picture).tobytes())
    return Image(
        header=header, height=height, width=width, encoding='bgr8', step=3 * width, data=data
    )
