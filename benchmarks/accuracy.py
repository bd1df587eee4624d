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
"""Top-1 and top-5 of the given model on the given pictures, as training.evaluate counts them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report import Goal, Row
from benchmarks.setting import Setting, say
from sqz_perception.inference import classifier
from training.data.archive import Archive
from training.evaluation.outcome import evaluate

# The published Deep-Compressed SqueezeNet v1.0 on the 500 photos, give or take 0.4 points.
GOALS = {1: Goal(62.4, 63.2), 5: Goal(81.2, 82.0)}
IMAGENET = 1000  # classes: the goals are for such a model


def measure(setting: Setting) -> Iterator[Row]:
    """Return top-1 and top-5; nothing where no pictures were given."""
    if setting.images is None:
        say('accuracy: left out, it needs --images and --model')
        return
    model = classifier.load(setting.large)
    say(f'accuracy: {setting.large} on {setting.images}')
    outcome = evaluate(model, Archive(setting.images))
    for k, goal in GOALS.items():
        yield Row(
            'accuracy',
            f'{model.name}: top-{k}',
            '%',
            outcome.top(k),
            samples=len(outcome.truth),
            goal=goal if len(model.labels) == IMAGENET else None,
            note=model.backend.description,
        )
