# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a model rotates keys by position (RoPE, M-RoPE), so that a key can be turned to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from infinipot_ros.kv_cache.coordinates import GridShapes

#: From coordinates int32 ``[H, N, 3]`` and the rows and columns of their grids, int64 ``[H, N]``
#: each, the position of each token on each axis, counted from where its grid starts: int64
#: ``[H, N, axes]``.
Offsets = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class KeyRotation:
    """
    The rotation of a key by the position its grid starts at.

    :param frequencies: angles of one step, float32 ``[n]``: they rotate dimensions 0 to n of a
        head, each with the one ``half`` further on; only those that move with the start.
    :param half: half of the dimensions that are rotated at all.
    :param offsets: where a token stands within its grid; None: where the grid starts, on all axes
        that move.
    :param axes: the axis that each frequency rotates by, int64 ``[n]``; needed with ``offsets``.
    :param content: whether policies compare keys as if all grids started at one position.
    :param by_slot: whether tokens have one position each, counted by slot without a gap, so that
        a compression turns keys. A token's start is its own position then.
    """

    frequencies: Tensor
    half: int
    offsets: Offsets | None = None
    axes: Tensor | None = None
    content: bool = False
    by_slot: bool = False

    def turn(
        self, keys: Tensor, coordinates: Tensor, shapes: GridShapes, before: Tensor, after: Tensor,
    ) -> Tensor:
        """
        Return keys turned from one start of their grid to another: float32, a copy.

        Angles are rounded as the model rounds them, so that the key equals one computed there.

        :param keys: ``[H, N, D]``, any floating type.
        :param coordinates: int32 ``[H, N, 3]``, of the tokens.
        :param before: int64 ``[H, N]``, the position each token's grid starts at; ``after``, the
            one it is to start at.
        """
        offsets = self._offsets(coordinates, shapes)
        angles = self._angles(after, offsets).double() - self._angles(before, offsets).double()
        return self._rotate(
            keys.to(torch.float32, copy=True), angles.cos().float(), angles.sin().float())

    def turn_back(self, keys: Tensor, starts: Tensor) -> Tensor:
        """
        Return keys as if every grid started at position 0, to be compared: float32, a copy.

        Angles are exact, not rounded as the model rounds them: an error of a hundredth of a
        radian, at positions beyond 100,000, that is the same for neighbours.

        :param keys: ``[H, N, D]``, any floating type.
        :param starts: int64 ``[H, N]``, see ``turn``.
        """
        places, place = torch.unique(starts, return_inverse=True)
        angles = (places.double().unsqueeze(-1) * self.frequencies.to(places.device).double())
        cosine, sine = (each.float()[place] for each in (angles.cos(), angles.sin()))
        return self._rotate(keys.to(torch.float32, copy=True), cosine, -sine)

    def _rotate(self, keys: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        count = len(self.frequencies)
        one, other = keys[..., :count], keys[..., self.half:self.half + count]
        turned = one * cosine - other * sine, other * cosine + one * sine
        keys[..., :count], keys[..., self.half:self.half + count] = turned
        return keys

    def _offsets(self, coordinates: Tensor, shapes: GridShapes) -> Tensor | None:
        if self.offsets is None or self.by_slot:
            return None
        rows, columns, _ = shapes.lookup(coordinates[..., 0].long())
        offsets = self.offsets(coordinates.long(), rows, columns)
        return offsets if self.axes is None else offsets[..., self.axes.to(offsets.device)]

    def _angles(self, starts: Tensor, offsets: Tensor | None) -> Tensor:
        places = starts.unsqueeze(-1) if offsets is None else starts.unsqueeze(-1) + offsets
        return places.float() * self.frequencies.to(places.device)


class StartTable:
    """
    Where the grids of tokens start, as a table on a device.

    :param starts: by grid; counted from ``base``.
    """

    def __init__(self, starts: Mapping[int, int], base: int, device: torch.device) -> None:
        grids = sorted(starts)
        self._grids = torch.tensor(grids, dtype=torch.int32, device=device)
        self._starts = base + torch.tensor(
            [starts[grid] for grid in grids], dtype=torch.int64, device=device)

    def of(self, grids: Tensor) -> Tensor:
        """Look up grids of the table, int32 ``[H, N]``: int64 ``[H, N]``."""
        return self._starts[torch.searchsorted(self._grids, grids.contiguous())]
