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
"""What the header of an encoded picture claims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Header:
    """The claims of an encoded picture, and the bytes of it that a decoder may see."""

    kind: str  # 'JPEG', 'PNG' ...
    height: int
    width: int
    data: NDArray[np.uint8]  # (bytes,)
    grey: bool = False  # one channel, as a Bayer mosaic has
    room: int = 0  # pixels that a decoder allocates memory for, where it is more than the picture
    possible: int = 2**62  # pixels that so many bytes can hold

    def __str__(self) -> str:
        return f'a {self.kind} of {self.width}x{self.height}'
