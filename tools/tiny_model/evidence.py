# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
When a filmed stream showed what, and which of its visual tokens do: the proof behind questions.

Everything is counted in the rendered truth. A shape is in clear sight in frames that show at
least ``CLEAR`` pixels of it, known after ``GOOD_FRAMES`` frames of ``GOOD_LOOK``, and unseen while
no frame showed more than ``TRACE``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.tiny_model.eye import SHOWN
from tools.tiny_model.house import SHAPES
from tools.tiny_model.questions import CLEAR, TRACE
from tools.tiny_model.rendering import WIDTH
from tools.tiny_model.tour import CELL, Film

# On a tour a thing counts as shown only by a good look at it.
GOOD_LOOK = 2 * CLEAR
GOOD_FRAMES = 3
INSIDE_SHARE = 0.7
# First sightings closer together than this, in frames, have no clear order.
ORDER_FRAMES = 10
# A token shows a thing that fills this much of its 784 pixels, as in the eye's training.
TOKEN_SHOWS = SHOWN
COLUMNS = WIDTH // CELL

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """
    What may be asked right after a frame, and how long ago its evidence was.

    :param shapes: indices of the shapes it is about; of ``order``, the one seen first is first.
    :param delay: frames from the evidence to the asking, as ``Sightings.delay`` counts them.
    """

    kind: str
    frame: int
    shapes: tuple[int, ...]
    delay: int


class Sightings:
    """
    What a wholly filmed stream had shown by each of its frames, F frames in all.

    :param pixels: int64 ``[F, shapes]``, what each frame shows of each shape.
    :param clear: bool ``[F, shapes]``, in clear sight in the frame.
    :param known: bool ``[F, shapes]``, well seen by then.
    :param unseen: bool ``[F, shapes]``, not in view until then.
    :param last: int64 ``[F, shapes]``, the last clear sight until then, -1 for none.
    """

    def __init__(self, shots: Film) -> None:
        self._shots = shots
        self.pixels = shots.things.sum(1).astype(np.int64)
        frames = np.arange(len(self.pixels))[:, None]
        self.clear: Mask = self.pixels >= CLEAR
        self.known: Mask = (self.pixels >= GOOD_LOOK).cumsum(0) >= GOOD_FRAMES
        self.unseen: Mask = np.maximum.accumulate(self.pixels) <= TRACE
        self.last: Numbers = np.maximum.accumulate(np.where(self.clear, frames, -1))
        self._faded = np.maximum.accumulate(np.where(self.pixels > TRACE, frames, -1))
        # Where a shape is never in view its first sightings lie behind the last frame.
        ever = np.concatenate([self.clear, np.ones((1, len(SHAPES)), bool)])
        self.first_clear: Numbers = ever.argmax(0)
        trace = np.concatenate([self.pixels > TRACE, np.ones((1, len(SHAPES)), bool)])
        self.first_trace: Numbers = trace.argmax(0)

    def inside(self, frame: int) -> int | None:
        """Name, by its index, the room the camera is in; None where it sees too little of it."""
        rooms = self._shots.rooms[frame].sum(0).astype(np.int64)
        room = int(self._shots.inside[frame])
        return room if rooms[room] >= INSIDE_SHARE * rooms.sum() else None

    def first_sight(self, shape: int, frame: int) -> Mask:
        """Mark the frames, up to one, of the first uninterrupted clear sight of a shape."""
        clear = self.clear[:frame + 1, shape]
        broken = (~clear[self.first_clear[shape]:]).cumsum() > 0
        marked: Mask = clear.copy()
        marked[self.first_clear[shape]:] &= ~broken
        return marked

    def _last_sight(self, shape: int, frame: int) -> Mask:
        clear = self.clear[:frame + 1, shape]
        later_breaks = np.cumsum(~clear[::-1])[::-1]
        marked: Mask = clear & (later_breaks == later_breaks[self.last[frame, shape]])
        return marked

    def evidence(self, kind: str, shapes: tuple[int, ...], frame: int) -> Mask:
        """
        Mark the frames, up to the one asked after, that show the answer.

        All clear sights of the shapes; of ``where`` the last one; of ``order``, which is about
        first sights, the first of each shape; of ``current`` the very last frame.

        :return: bool ``[frame + 1]``.
        """
        shown: Mask = self._marked(kind, shapes, frame).max(1)
        return shown

    def _marked(self, kind: str, shapes: tuple[int, ...], frame: int) -> Mask:
        """Mark the evidence shape by shape, ``[frame + 1, shapes]``; one column for a room."""
        if kind == 'current':
            return np.arange(frame + 1)[:, None] == frame
        marked = np.zeros((frame + 1, len(SHAPES)), bool)
        for shape in shapes:
            if kind == 'order':
                marked[:, shape] = self.first_sight(shape, frame)
            elif kind == 'where':
                marked[:, shape] = self._last_sight(shape, frame)
            else:
                marked[:, shape] = self.clear[:frame + 1, shape]
        return marked

    def tokens(self, kind: str, shapes: tuple[int, ...], frame: int) -> Numbers:
        """
        Find the visual tokens that show the evidence.

        A token counts where ``TOKEN_SHOWS`` pixels, the mean over its grid's two frames, are of
        the thing asked about (of ``current``: of the room). Colour, room, sighting and count of
        things are shown by every grid they are in, the other kinds by those of their evidence.

        :return: int64 ``[n, 3]``: grid number from the stream's start, row, column.
        """
        grids = (frame + 1) // 2
        marked: Mask = self._marked(kind, shapes, frame)[:2 * grids].reshape(grids, 2, -1).max(1)
        if kind == 'current':
            truth = self._shots.rooms[:2 * grids, :, self._shots.inside[frame], None]
        else:
            truth = self._shots.things[:2 * grids]
        if kind in ('colour', 'room', 'seen', 'count'):
            marked[:, list(shapes)] = True
        means = truth.reshape(grids, 2, *truth.shape[1:]).mean(1)
        grid, cell = np.nonzero(((means >= TOKEN_SHOWS) & marked[:, None]).any(2))
        return np.stack([grid, cell // COLUMNS, cell % COLUMNS], 1)

    def delay(self, kind: str, shapes: tuple[int, ...], frame: int) -> int:
        """
        Count the frames from the evidence to the asking; 0 where no shape is asked about.

        Since the last clear sight of the shape; of ``count``, which takes them all, of the one
        longest out of view; of ``order`` since the later of the two first sights ended.
        """
        if not shapes:
            return 0
        if kind == 'order':
            return frame - max(min(frame, self._first_end(shape)) for shape in shapes)
        return frame - int(self.last[frame, list(shapes)].min())

    def candidates(self, kind: str) -> list[Candidate]:
        """List everything of a kind that may be asked after a whole grid; no absent things."""
        found = []
        for frame in range(1, len(self.pixels), 2):
            known = tuple(np.flatnonzero(self.known[frame]).tolist())
            for shapes in self._groups(kind, known, frame):
                delay = self.delay(kind, shapes, frame)
                # A glimpse since then would make the delay untrue, but for what came first.
                if kind not in ('order', 'current'):
                    oldest = min(shapes, key=lambda shape: int(self.last[frame, shape]))
                    if self._faded[frame, oldest] > frame - delay + max(2, delay // 10):
                        continue
                found.append(Candidate(kind, frame, shapes, delay))
        return found

    def _groups(self, kind: str, known: tuple[int, ...], frame: int) -> list[tuple[int, ...]]:
        if kind == 'current':
            return [()] if self.inside(frame) is not None else []
        if kind == 'count':
            sure = bool((self.known[frame] | self.unseen[frame]).all())
            return [known] if sure and known else []
        if kind == 'order':
            return [(one, other) for one in known for other in known
                    if self.first_clear[one] + ORDER_FRAMES <= self.first_trace[other]]
        return [(shape,) for shape in known]

    def _first_end(self, shape: int) -> int:
        """Return the last frame of the first uninterrupted clear sight of a shape."""
        gone = ~self.clear[self.first_clear[shape]:, shape]
        return int(self.first_clear[shape]) + (int(gone.argmax()) if gone.any() else len(gone)) - 1
