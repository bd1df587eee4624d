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
"""
The node that a tutorial would write, to compare with: nothing in it is wrong, nothing is tuned.

Takes the path of a torchvision state dict. The picture is made of the message as cv_bridge makes
it, then goes through the transforms that torchvision documents for its ImageNet weights.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import numpy as np
import rclpy
import torch
from PIL import Image as Picture
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image
from torchvision import models, transforms
from vision_msgs.msg import Classification, ObjectHypothesis


class PlainNode(Node):
    """image -> classification, in one callback."""

    def __init__(self, weights: str) -> None:
        super().__init__('plain_classifier')
        self.model = models.squeezenet1_0(weights=None)
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        self.model.eval()
        self.transform = transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )
        self.publisher = self.create_publisher(Classification, 'classification', 10)
        self.subscription = self.create_subscription(Image, 'image', self.on_image, 10)

    def on_image(self, message: Image) -> None:
        frame = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        picture = Picture.fromarray(frame[:, :, ::-1])  # BGR to RGB
        with torch.no_grad():
            logits = self.model(self.transform(picture).unsqueeze(0))
            best = torch.softmax(logits[0], dim=0).topk(5)
        result = Classification(header=message.header)
        for score, index in zip(best.values, best.indices, strict=True):
            hypothesis = ObjectHypothesis(class_id=str(index.item()), score=score.item())
            result.results.append(hypothesis)
        self.publisher.publish(result)


def main() -> None:
    """Spin until Ctrl-C."""
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(PlainNode(sys.argv[1]))


if __name__ == '__main__':
    main()
