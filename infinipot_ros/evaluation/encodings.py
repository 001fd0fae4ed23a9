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
from typing import Any

from torch import Tensor


class RememberedEncodings:
    """
    A loaded model whose ``encode`` runs once per distinct call; all else is the model's own.

    Whole calls are remembered, not grids, because only then are the results equal to the bit on
    every device: a tower may sum in another order when other grids share the call. Memories that
    encode blocks of the same size make the same calls; one so small that a compression frees less
    than a block makes its own.

    What is remembered lives as long as the object: make one for every stream.

    :param model: a loaded model, as an ``Observer`` takes it.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[tuple[tuple[int, ...], bytes], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, frames: Tensor) -> Any:
        """
        Turn frames into visual tokens, or remember what they turned into.

        :param frames: uint8 ``[T, h, w, 3]``.
        :return: the model's own block; shared between calls, so not to be written to.
        """
        pixels = frames.contiguous().cpu().numpy()
        key = (tuple(frames.shape), hashlib.blake2b(pixels.data, digest_size=20).digest())
        if key not in self._known:
            self._known[key] = self._model.encode(frames)
        return self._known[key]
