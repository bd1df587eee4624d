# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the classifier node. config/classifier.yaml says the same with comments."""

from __future__ import annotations

from sqz_perception.inference.backend import BACKENDS, PRECISIONS
from sqz_perception.nodes.parameters import Declared

PARAMETERS = (
    Declared('model', '', 'Path of the .sqz model file; empty: the one in the package. '
             'A change takes effect with the service update_model', live=True),
    Declared('backend', 'auto', 'Inference runtime', ('auto', *BACKENDS)),
    Declared('precision', 'auto', 'Arithmetic; auto: the fastest that model, runtime and '
             'processor have', PRECISIONS),
    Declared('threads', 2, 'Threads for inference; 0: as many as the runtime likes', (0, 256)),
    Declared('cameras', [''], 'Camera names; NAME/image gives NAME/classification. '
             'Empty: one camera, image gives classification'),
    Declared('transport', 'raw', 'Subscribe to image, or to image/compressed',
             ('raw', 'compressed')),
    Declared('reliability', 'best_effort', 'QoS of the subscriptions; best_effort matches every '
             'publisher', ('best_effort', 'reliable')),
    Declared('depth', 5, 'QoS history depth of the subscriptions, frames', (1, 100)),
    Declared('top_k', 5, 'Most classes in one result', (1, 65535), live=True),
    Declared('threshold', 0.0, 'Least score of a class in a result', (0.0, 1.0), live=True),
    Declared('max_rate', 0.0, 'Most classifications a second of one camera; 0: no limit',
             (0.0, 1000.0), live=True),
    Declared('stale_after', 0.5, 'Age in seconds from which a classified frame counts as stale',
             (0.001, 3600.0), live=True),
    Declared('silent_after', 2.0, 'Seconds without a frame after which a camera is called silent',
             (0.1, 3600.0), live=True),
    Declared('autostart', True, 'Configure and activate at the start'),
)  # fmt: skip
