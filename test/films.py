# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Films without pictures: the rendered truth alone, made up for a test."""

from __future__ import annotations

import numpy as np

from tools.tiny_model.tour import Film

ROOM = 2


def fake_film(pixels: np.ndarray, cell: int) -> Film:
    """
    Fake a film in which everything is shown in one cell, from one room.

    :param pixels: ``[frames, shapes]``.
    """
    frames = len(pixels)
    things = np.zeros((frames, 24, pixels.shape[1]), np.uint16)
    things[:, cell] = pixels
    rooms = np.zeros((frames, 24, 6), np.uint16)
    rooms[:, :, ROOM] = 700
    return Film(
        np.zeros((frames, 1, 1, 3), np.uint8), (b'',) * frames, things, rooms,
        np.full(frames, ROOM))
