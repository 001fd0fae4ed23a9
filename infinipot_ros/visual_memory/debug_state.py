# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A view of a memory's internals, for tests and debugging."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from infinipot_ros.vlm.positions import Timeline


@dataclass(frozen=True)
class DebugState:
    """
    The internals of a memory at one moment; read only, and not a stable interface.

    :param tensors: keys and values ``[1, kv_heads, length, head_dim]`` and coordinates int32
        ``[kv_heads, tokens, 3]`` of each layer in turn, as far as they are filled, then the states
        of each layer with linear attention: views of the buffers, not copies. With ``kv_dtype``
        the codes of keys, as bytes, their scales, and those of values.
    :param prefix_length: tokens before the visual tokens.
    :param next_grid: number of the next grid; ``renumberings``, how often grids were renumbered.
    :param grid_runs: length of the table of grid shapes.
    :param pending_blocks: blocks of frames that are not encoded yet; ``pending_tokens``, what is
        kept free within the budget for them and for the recent frames of a question.
    :param times: where each remembered grid starts (for Qwen2.5-VL its temporal index), by grid.
    :param last_time: largest such position before positions are re-based.
    :param camera_shares: share of each camera in a compression, by number; may be empty.
    """

    tensors: tuple[Tensor, ...]
    prefix_length: int
    next_grid: int
    renumberings: int
    grid_runs: int
    pending_blocks: int
    pending_tokens: int
    timeline: Timeline
    times: dict[int, int]
    last_time: int
    camera_shares: dict[int, float]
