# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which share of the visual tokens that show something is still in a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]


def retention(tokens: Tokens, remembered: npt.NDArray[np.int32], pending_from: int) -> float:
    """
    Tell which share of some tokens is still in the memory.

    :param tokens: int ``[n, 3]``, n > 0: grid, row, column.
    :param remembered: int32 ``[layers, kv_heads, N, 3]``, what each layer and head remembers.
    :param pending_from: grid number from which on everything waits for its block, and is held.
    :return: mean over layers and KV heads, within [0, 1].
    """
    wanted = np.unique(tokens, axis=0)
    pending = int((wanted[:, 0] >= pending_from).sum())
    sides = 1 + np.concatenate([wanted, remembered.reshape(-1, 3)]).max(0).astype(np.int64)

    def number(coordinates: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        grid, row, column = np.moveaxis(coordinates.astype(np.int64), -1, 0)
        numbers: npt.NDArray[np.int64] = (grid * sides[1] + row) * sides[2] + column
        return numbers

    kept = np.isin(number(remembered), number(wanted[wanted[:, 0] < pending_from]))
    heads = remembered.shape[0] * remembered.shape[1]
    return (float(kept.sum()) / heads + pending) / len(wanted)
