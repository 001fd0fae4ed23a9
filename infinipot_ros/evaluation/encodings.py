# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Visual tokens remembered by what was in the frames, for memories that watch the same stream.

What the vision tower makes of frames depends on nothing but their pixels and on which frames
share the call, whichever policy and budget they go to. So it runs once for each call, and every
later memory that makes the same call gets the very same tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

DIGEST_BYTES = 16
MAX_BYTES = 2 ** 30
"""Beyond this a stream's tokens are not remembered but encoded anew: streams may be endless."""

Call = tuple[bytes, ...]
"""The digests of the frames that share a call of the vision tower."""


def frame_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Identify a frame as it is encoded: uint8 ``[h, w, 3]``; its shape counts too."""
    seen = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=DIGEST_BYTES)
    seen.update(np.ascontiguousarray(pixels).data)
    return seen.digest()


class Store(Protocol):
    """Where blocks of visual tokens are kept, by call."""

    def get(self, call: Call) -> Any | None:
        """Give the block of a call, None where it is not kept."""

    def put(self, call: Call, block: Any) -> None:
        """Keep a block, or not."""


class KeptInMemory:
    """
    Blocks in this process's memory, up to a limit.

    :param most_bytes: what comes beyond is not kept.
    """

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._left = most_bytes
        self._known: dict[Call, Any] = {}

    def get(self, call: Call) -> Any | None:
        """Give the block of a call, None where it is not kept."""
        return self._known.get(call)

    def put(self, call: Call, block: Any) -> None:
        """Keep a block if there is room."""
        self._left -= block.tokens.numel() * block.tokens.element_size()
        if self._left >= 0:
            self._known[call] = block


class RememberedEncodings:
    """
    A loaded model whose ``encode`` runs once per distinct call; all else is the model's own.

    Whole calls are remembered, not grids, because only then are the results equal to the bit on
    every device: a tower may sum in another order when other grids share the call. Memories that
    encode blocks of the same size make the same calls; one so small that a compression frees less
    than a block makes its own.

    What is remembered lives as long as the object: make one for every stream.

    :param model: a loaded model, as an ``VisualMemory`` takes it.
    :param store: where blocks are kept; in memory by default.
    :param digest: identifies a frame as it is encoded.
    """

    def __init__(
        self, model: Any, store: Store | None = None,
        digest: Callable[[npt.NDArray[np.uint8]], bytes] = frame_digest,
    ) -> None:
        self._model = model
        self._digest = digest
        self._store = KeptInMemory() if store is None else store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, frames: Tensor) -> Any:
        """
        Turn frames into visual tokens, or remember what they turned into.

        :param frames: uint8 ``[T, h, w, 3]``.
        :return: the model's own block; shared between calls, so not to be written to.
        """
        call = tuple(self._digest(pixels) for pixels in frames.contiguous().cpu().numpy())
        block = self._store.get(call)
        if block is None:
            block = self._model.encode(frames)
            self._store.put(call, block)
        return block
