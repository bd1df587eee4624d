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
Every way this package can fail, by name.

Two failures that a caller treats differently have two names; each message is one line that says
what was found and what to do about it::

    SqzError
    +-- ModelError                 a model file that can't be used; the running model stays
    |   +-- ModelNotFound          no such file
    |   +-- ModelNotSqz            not a .sqz file at all
    |   +-- ModelTruncated         the file ends too early, or goes on after its end
    |   +-- ModelCorrupt           a checksum does not match: damaged on the way
    |   +-- ModelTooNew            a later format than this package reads
    |   +-- ModelInvalid           whole, but it claims what can't be
    |   +-- ModelFloatOnly         int8 was asked of a model that was not compressed for it
    |   +-- DeltaInvalid           no delta, or one that contradicts itself
    |   +-- DeltaBaseMismatch      a delta for another model than the one it is applied to
    +-- FrameError                 a camera frame that can't be used; it is dropped and counted
    |   +-- FrameEmpty             no rows, no columns or no data
    |   +-- FrameTruncated         fewer bytes than the frame claims
    |   +-- FrameOversized         more bytes or pixels than allowed
    |   +-- FrameCorrupt           the bytes are no picture
    |   +-- FrameEncodingUnknown   an encoding that is not supported
    +-- BackendError               an inference runtime
    |   +-- BackendUnavailable     not installed, or not on this processor
    |   +-- BackendFailed          it refused the model or failed on a frame
    |   +-- SelfTestFailed         it runs, but gives wrong answers
    +-- LoadCancelled              the caller no longer wants the model that is being loaded
    +-- SwapRefused                no model to go to, or a swap is already under way
    +-- UpdateError                an update that can't be installed; the running model stays
    |   +-- MessageInvalid         bytes that are no message of the update protocol
    |   +-- UpdateUntrusted        metadata whose signatures, versions or dates do not hold
    |   +-- UpdateUnsuitable       a signed release that this robot must not install
    |   |   +-- UpdateInstalled    it is the release in use
    |   +-- StoreFailed            the folder of models can't be read or written
    +-- SourceError                pictures for the image source that can't be read
"""


class SqzError(Exception):
    """Base of all errors that this package raises on purpose."""


class ModelError(SqzError):
    """A model file that can't be used."""


class ModelNotFound(ModelError):
    """The model file does not exist or can't be opened."""


class ModelNotSqz(ModelError):
    """The file does not begin as a .sqz file does."""


class ModelTruncated(ModelError):
    """The file is shorter or longer than its header says."""


class ModelCorrupt(ModelError):
    """A checksum or the identity does not match the content."""


class ModelTooNew(ModelError):
    """The file has a later format version or uses reserved bits."""


class ModelInvalid(ModelError):
    """The file is whole, but its content contradicts itself or exceeds a limit."""


class ModelFloatOnly(ModelError):
    """The model has no int8 levels or no activation ranges, so it runs in floating point only."""


class DeltaInvalid(ModelError):
    """The file is no model delta, or its content contradicts itself or exceeds a limit."""


class DeltaBaseMismatch(ModelError):
    """The delta is for another base; the whole file is needed."""


class FrameError(SqzError):
    """A camera frame that can't be used. ``kind`` names its counter in the diagnostics."""

    kind = 'unusable'


class FrameEmpty(FrameError):
    """The frame has no rows, no columns or no data."""

    kind = 'empty'


class FrameTruncated(FrameError):
    """The frame holds fewer bytes than its size, step and encoding need."""

    kind = 'truncated'


class FrameOversized(FrameError):
    """The frame claims more pixels, or holds more bytes, than is allowed."""

    kind = 'oversized'


class FrameCorrupt(FrameError):
    """The compressed data is damaged or no picture at all."""

    kind = 'corrupt'


class FrameEncodingUnknown(FrameError):
    """The encoding or the compression format is not supported."""

    kind = 'unknown_encoding'


class BackendError(SqzError):
    """An inference runtime that can't do what was asked."""


class BackendUnavailable(BackendError):
    """The runtime is not installed or does not support this processor."""


class BackendFailed(BackendError):
    """The runtime refused the model or failed on a frame."""


class SelfTestFailed(BackendError):
    """The model's self-test gave other answers than the file expects."""


class LoadCancelled(SqzError):
    """Loading a model was cancelled by whoever asked for it."""


class SwapRefused(SqzError):
    """There is no model to swap to, or a swap is already under way."""


class UpdateError(SqzError):
    """A model update that can't be received, verified, stored or activated."""


class MessageInvalid(UpdateError):
    """The bytes are not a message of the update protocol."""


class UpdateUntrusted(UpdateError):
    """The signed metadata is forged, expired, older than what is known, or incomplete."""


class UpdateUnsuitable(UpdateError):
    """The release is signed, but for another model, older, or beyond this package's version."""


class UpdateInstalled(UpdateUnsuitable):
    """The release is the one in use."""


class StoreFailed(UpdateError):
    """The folder that holds the models can't be read or written."""


class SourceError(SqzError):
    """The picture source can't be opened or holds no pictures."""
