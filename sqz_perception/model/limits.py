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
The largest model that is accepted. Every limit is checked before anything of the size is made.

The limits leave at least twice what SqueezeNet, AlexNet and ResNet-50 need at 227 x 227 pixels.
A model at the limits loads in seconds, not minutes. ``docs/format.md`` repeats them.
"""

from __future__ import annotations

MAX_FILE_BYTES = 512 * 2**20
MAX_META_BYTES = 4 * 2**20  # of the metadata, inflated
# What coded tensors may become: zeros cost nothing, so without this a small file could be huge.
# In a larger network each weight takes at least half a bit; Deep Compression's AlexNet has 0.9.
MAX_CODED_BYTES, MAX_GROWTH = 2**20, 16  # bytes, and bytes for each of the file's
MAX_NODES = 256
MAX_INPUTS = 320  # of all nodes together; OpenVINO takes a minute for a thousand of one value
MAX_NODE_INPUTS = 32
MAX_KERNEL = 32  # rows or columns of a convolution's or a pool's window
MAX_SIDE = 4096  # pixels of the picture, also of strides and pads
MAX_PARAMETERS = 2**27  # weights and biases: half a GiB in fp32
MAX_NODE_VALUES = 2**25  # that one node gives: 128 MiB in fp32
MAX_VALUES = 2**27  # that all nodes give together
MAX_WORK = 2**33  # multiplications of one picture, see network.work
MAX_SELF_TEST_WORK = 2**35  # multiplications of all questions of the self-test
