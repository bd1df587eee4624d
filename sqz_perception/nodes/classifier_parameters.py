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
"""The parameters of the classifier node. config/classifier.yaml has the same with comments."""

from __future__ import annotations

from dataclasses import dataclass

from sqz_perception.inference.backend import BACKENDS, PRECISIONS
from sqz_perception.inference.compressed import MAX_PIXELS
from sqz_perception.nodes.parameters import declared, parameter


@dataclass(frozen=True)
class ClassifierSettings:
    """What the node is set to now."""

    # fmt: off
    model: str = parameter(
        '', 'Path of the .sqz model file; empty: the one in the package. '
        'A change takes effect with the service update_model', live=True)
    backend: str = parameter(
        'auto', 'Inference runtime; auto: the fastest, measured', ('auto', *BACKENDS))
    precision: str = parameter(
        'auto', 'Arithmetic; auto: the fastest that is right here, measured', PRECISIONS)
    threads: int = parameter(
        2, 'Threads for inference; 0: as many as the runtime likes', (0, 256))
    cameras: tuple[str, ...] = parameter(
        [''], 'Camera names; NAME/image gives NAME/classification. '
        'Empty: one camera, image gives classification')
    transport: str = parameter(
        'raw', 'Subscribe to image, or to image/compressed', ('raw', 'compressed'))
    reliability: str = parameter(
        'best_effort', 'QoS of the subscriptions; best_effort matches every publisher',
        ('best_effort', 'reliable'))
    depth: int = parameter(5, 'QoS history depth of the subscriptions, frames', (1, 100))
    top_k: int = parameter(5, 'Most classes in one result', (1, 65535), live=True)
    threshold: float = parameter(
        0.0, 'Least score of a class in a result', (0.0, 1.0), live=True)
    class_id: str = parameter(
        'label', 'What class_id of a result holds: the label, or its number in label_info',
        ('label', 'number'), live=True)
    max_pixels: int = parameter(
        MAX_PIXELS, 'Most pixels of a frame; a larger one is dropped', (1, 2**30), live=True)
    max_rate: float = parameter(
        0.0, 'Most classifications a second of one camera; 0: no limit', (0.0, 1000.0), live=True)
    max_inference_time: float = parameter(
        -1.0, 'Longest time per frame in seconds of a model that update_model accepts; negative: '
        'what the cameras allow; 0: no limit', (-1.0, 3600.0), live=True)
    update_root: str = parameter(
        '', 'Path of the root document that updates over the air are verified with; read at the '
        'start. Empty: no updates')
    update_source: str = parameter(
        '', 'Folder or HTTP(S) address of a repository of releases that update_model reads',
        live=True)
    update_ring: str = parameter(
        '', 'Rollout ring of this robot; read at the start. Empty: only updates for all')
    auto_update: bool = parameter(
        False, 'Activate an update without a call, while ~/allow_updates permits it', live=True)
    trial_time: float = parameter(
        30.0, 'Seconds in which the model of an update is watched', (0.0, 86400.0), live=True)
    store_dir: str = parameter(
        '', 'Folder of the models that came over the air; read at the start. '
        'Empty: below ROS_HOME or ~/.ros')
    allow_unsigned_updates: bool = parameter(
        False, 'Accept updates without signatures where there is no update_root; for tests only',
        live=True)
    stale_after: float = parameter(
        0.5, 'Age in seconds from which a classified frame counts as stale', (0.001, 3600.0),
        live=True)
    silent_after: float = parameter(
        2.0, 'Seconds without a frame after which a camera is called silent', (0.1, 3600.0),
        live=True)
    autostart: bool = parameter(True, 'Configure and activate at the start')
    diagnostics_period: float = parameter(
        1.0, 'Seconds between two messages on /diagnostics', (0.1, 60.0),
        name='diagnostic_updater.period', live=True)
    use_fqn: bool = parameter(
        False, 'Begin the names of the statuses with the full name of the node',
        name='diagnostic_updater.use_fqn', live=True)
    # fmt: on


PARAMETERS = declared(ClassifierSettings)
