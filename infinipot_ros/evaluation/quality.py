# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
One stream, many memories, the same questions: what compression costs.

A cell is a policy at a budget. Every cell watches the stream from its start through an
``Observer`` and is asked each question right after the frame it belongs to, so no answer ever
rests on later frames. Cells that encode blocks of the same size share the work of the vision
tower; ``encodings`` tells why not all do.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.cells import Cell
from infinipot_ros.evaluation.encodings import RememberedEncodings
from infinipot_ros.evaluation.retention import Tokens, retention
from infinipot_ros.observer.answer import same_answer
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.settings import FRAMES_PER_GRID, ObserverSettings


@dataclass(frozen=True, eq=False)
class QualityQuestion:
    """
    A question and what is right.

    :param ask_at_ns: stamp of the frame right after which it is asked.
    :param kind: what it asks about, for grouping.
    :param delay: frames for which it had to be remembered, as whoever asks counts them.
    :param evidence: closed intervals of stamps, ns, in which the answer is in view; none if it
        never was.
    :param tokens: int64 ``[n, 3]``, grid number from the stream's start, row and column of the
        visual tokens that show the evidence; None where that is not known.
    """

    id: str
    ask_at_ns: int
    question: str
    answer: str
    kind: str
    delay: int
    evidence: Sequence[Sequence[int]] = ()
    tokens: Tokens | None = None


@dataclass(frozen=True, eq=False)
class QualityStream:
    """
    Frames of one size in time order, and questions about them.

    :param name: unique among all streams of a benchmark; ``suite`` is the sort it belongs to.
    :param frames: uint8 ``[H, W, 3]`` each.
    :param stamps_ns: one rising integer a frame.
    """

    name: str
    suite: str
    seed: int
    frames: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]
    stamps_ns: Sequence[int]
    questions: Sequence[QualityQuestion]

    def digest(self) -> str:
        """Identify pixels, stamps and questions: equal digests, equal streams."""
        seen = hashlib.blake2b(digest_size=16)
        for frame in self.frames:
            seen.update(np.ascontiguousarray(frame).data)
        seen.update(np.asarray(self.stamps_ns, np.int64).tobytes())
        for question in self.questions:
            told = (question.id, question.ask_at_ns, question.question, question.answer,
                    question.kind, question.delay, question.evidence)
            seen.update(repr(told).encode())
            if question.tokens is not None:
                seen.update(question.tokens.astype(np.int64).tobytes())
        return seen.hexdigest()

    def questions_by_stamp(self) -> dict[int, list[QualityQuestion]]:
        """
        Sort the questions to the frames they follow.

        :raises SourceError: a question follows no frame of the stream, or two share an id.
        """
        asked: dict[int, list[QualityQuestion]] = {}
        known = set(self.stamps_ns)
        if len({question.id for question in self.questions}) < len(self.questions):
            raise SourceError(f'{self.name}: two questions have the same id; ids must differ')
        for question in self.questions:
            if question.ask_at_ns not in known:
                raise SourceError(
                    f'{self.name}: question {question.id} is asked at {question.ask_at_ns} ns, '
                    'but no frame has that stamp; ask right after a frame')
            asked.setdefault(question.ask_at_ns, []).append(question)
        return asked


@dataclass(frozen=True)
class Outcome:
    """
    One answered question of one cell; plain values, so that a line of JSON holds it.

    :param delay: frames since the evidence; None where the answer is that it was never seen.
    :param retention: share of the evidence's tokens that was still remembered, mean over layers
        and KV heads; None where the question names no tokens.
    :param held: visual tokens a layer and KV head held when asked.
    :param seen_tokens: visual tokens of all that was seen until then, forgotten or not.
    """

    stream: str
    suite: str
    seed: int
    policy: str
    budget: str
    budget_tokens: int
    id: str
    kind: str
    delay: int | None
    question: str
    expected: str
    answer: str
    right: bool
    retention: float | None
    held: int
    seen_tokens: int
    compressions: int

    @property
    def cell(self) -> Cell:
        """The policy and budget that answered."""
        return Cell(self.policy, self.budget)


@dataclass(frozen=True)
class CellRun:
    """
    What one cell made of one stream.

    :param digest: of the stream, ``QualityStream.digest``.
    :param stream_tokens: visual tokens of the whole stream.
    :param budget_tokens: None where the cell was left out because its budget holds the stream.
    :param frames: frames observed: up to the last question, none later.
    :param seconds: of this process, asking included, reading the stream not.
    """

    stream: str
    digest: str
    cell: Cell
    stream_tokens: int
    budget_tokens: int | None
    frames: int = 0
    seconds: float = 0.0
    compressions: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


def run_stream(
    stream: QualityStream, cells: Iterable[Cell], settings: ObserverSettings, model: Any,
    on_frame: Callable[[], None] = lambda: None,
) -> Iterator[CellRun]:
    """
    Show a stream to every cell and ask its questions.

    :param settings: of all cells; policy and budget are the cell's.
    :param model: loaded with these settings.
    :param on_frame: called after each frame a cell has observed.
    :return: a run for every cell, in order.
    :raises SourceError: a question follows no frame.
    :raises ConfigurationError: a budget that holds not one grid.
    :raises FrameError: a frame cannot be observed.
    """
    asked = stream.questions_by_stamp()
    digest = stream.digest()
    remembering = RememberedEncodings(model)
    for cell in cells:
        yield _run_cell(stream, digest, asked, cell, settings, remembering, on_frame)


def _run_cell(
    stream: QualityStream, digest: str, asked: dict[int, list[QualityQuestion]], cell: Cell,
    settings: ObserverSettings, model: Any, on_frame: Callable[[], None],
) -> CellRun:
    height, width = stream.frames[0].shape[:2]
    size = model.encoded_size(height, width, settings.max_pixels)
    rows, columns = model.grid_size(*size)
    if model.encoded_size(height, width, size[0] * size[1]) == size:
        # No frame is larger, so a budget need not hold a larger one.
        settings = replace(settings, max_pixels=size[0] * size[1])
    grids = _grids(len(stream.stamps_ns))
    budget = cell.tokens(grids, rows * columns, settings.block_size // FRAMES_PER_GRID)
    stream_tokens = grids * rows * columns
    if budget is None:
        return CellRun(stream.name, digest, cell, stream_tokens, None)
    started = time.perf_counter()
    observer = Observer(replace(settings, policy=cell.policy, budget=budget), model)
    outcomes: list[Outcome] = []
    frames = 0
    for rgb, stamp in zip(stream.frames, stream.stamps_ns):
        if len(outcomes) == len(stream.questions):
            break
        observer.observe(rgb, int(stamp))
        frames += 1
        on_frame()
        if stamp in asked:
            seen_tokens = _grids(frames) * rows * columns
            outcomes += _ask(observer, asked[stamp], stream, cell, budget, seen_tokens)
    return CellRun(
        stream.name, digest, cell, stream_tokens, budget, frames, time.perf_counter() - started,
        observer.status().compressions, outcomes)


def _grids(frames: int) -> int:
    # A last frame without a partner makes a grid of its own.
    return -(-frames // FRAMES_PER_GRID)


def _ask(
    observer: Observer, questions: Sequence[QualityQuestion], stream: QualityStream, cell: Cell,
    budget: int, seen_tokens: int,
) -> Iterator[Outcome]:
    status = observer.status()
    remembered = observer.coordinates().cpu().numpy()
    for question in questions:
        share = None
        if question.tokens is not None and len(question.tokens):
            share = retention(
                question.tokens, remembered, status.frames_encoded // FRAMES_PER_GRID)
        answer = observer.ask(question.question)
        yield Outcome(
            stream.name, stream.suite, stream.seed, cell.policy, cell.budget, budget,
            question.id, question.kind, question.delay if question.evidence else None,
            question.question, question.answer, answer.text,
            same_answer(answer.text, question.answer), share, answer.memory_tokens, seen_tokens,
            status.compressions)
