# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Show one stream to many memories and ask each the same questions: what compression costs.

Every variant (a policy at a budget) watches the stream from its start through a ``VisualMemory``
and is asked each question right after the last frame that is not later than its time, so no answer
rests on later frames. Variants that encode blocks of the same size share the work of the vision
tower (``encodings``).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError, FrameError, QuestionError, SourceError
from infinipot_ros.evaluation.encodings import RememberedEncodings
from infinipot_ros.evaluation.evidence_stream import EvidenceStream
from infinipot_ros.evaluation.memory_timeline import MemoryTimeline, TimedModel
from infinipot_ros.evaluation.outcome import Outcome, StreamResult
from infinipot_ros.evaluation.question import Tokens
from infinipot_ros.evaluation.scoring import is_right, score
from infinipot_ros.evaluation.stream import (
    AFTER,
    NothingShown,
    Segments,
    Stream,
    TimedQuestion,
    questions_digest,
)
from infinipot_ros.evaluation.variants import FULL, ORACLE, Variant
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

# No camera has more; the limit of a frame that is not to be shrunk.
MAX_PIXELS = 2 ** 30
# Questions name visual tokens of Qwen2-VL and Qwen2.5-VL: so many pixels, and frames.
NAMED_PIXELS, NAMED_FRAMES = 28 * 28, 2


def run_stream(
    stream: Stream, variants: Iterable[Variant], settings: MemoryConfig, model: Any,
    on_frame: Callable[[], None] = lambda: None, *, leave_out: bool = True,
    on_refused: Callable[[Variant, ConfigurationError], None] | None = None,
) -> Iterator[StreamResult]:
    """
    Show a stream to every variant and ask its questions.

    :param settings: of all variants; policy and budget are the variant's.
    :param model: loaded with these settings.
    :param on_frame: called after each frame a variant has observed.
    :param leave_out: leave out variants whose budget would hold the whole stream.
    :param on_refused: called with a variant that cannot be built, for lack of memory say, to go on
        with the others; None raises its error.
    :return: a result per variant, in order.
    :raises SourceError: a question before the first or after the last frame, two with one id, one
        that cannot be asked, or no usable frame.
    :raises ConfigurationError: a budget that holds less than one grid.
    """
    try:
        asked, left_out = stream.schedule()
    except NothingShown:
        if not stream.skip_missing:
            raise
        yield from _nothing_asked(stream, variants)
        return
    cached = RememberedEncodings(model, *stream.kept(model))
    for variant in variants:
        try:
            if variant.policy == ORACLE:
                # What it encodes no other variant does.
                run: VariantRun = OracleRun(stream, asked, variant, settings, model, leave_out)
            else:
                run = VariantRun(stream, asked, variant, settings, cached, leave_out)
            result = run.run(on_frame, left_out)
        except ConfigurationError as error:
            if on_refused is None:
                raise
            on_refused(variant, error)
        else:
            yield result
    stream.close()


def _nothing_asked(stream: Stream, variants: Iterable[Variant]) -> Iterator[StreamResult]:
    """Leave out all questions about a part that a recording lacks."""
    asked = questions_digest(stream.questions)
    for variant in variants:
        yield StreamResult(
            stream.name, asked, variant, 0, None, asked=asked, inputs=stream.inputs,
            left_out={AFTER: len(stream.questions)})


class VariantRun:
    """One variant, one stream."""

    def __init__(
        self, stream: Stream, asked: Sequence[TimedQuestion], variant: Variant,
        settings: MemoryConfig, model: Any, leave_out: bool,
    ) -> None:
        self._stream, self._asked, self._variant = stream, list(asked), variant
        # A model to all who use it, though not by its type.
        self._model: Any = TimedModel(model)
        self._settings = _fitting(stream, settings, model)
        segments = stream.survey().segments
        self._per_grid: int = model.family.FRAMES_PER_GRID
        self._stream_tokens = segments.tokens(self._grid_tokens, self._per_grid)
        self._largest = max(
            self._grid_tokens(each.height, each.width) for each in segments.found)
        self._budget = variant.tokens(
            -(-self._stream_tokens // self._largest), self._largest,
            settings.block_size // self._per_grid, leave_out=leave_out)
        self._pictures = stream.pictures
        self._seen = Segments()
        self._stamps: list[int] = []
        self._met = 0
        self._named_alike = (model.family.pixels_for(1), self._per_grid) == (
            NAMED_PIXELS, NAMED_FRAMES) and all(
            model.encoded_size(each.height, each.width, settings.max_pixels)
            == model.encoded_size(each.height, each.width, MAX_PIXELS)
            for each in segments.found)
        self._outcomes: list[Outcome] = []

    def _grid_tokens(self, height: int, width: int) -> int:
        rows, columns = self._model.grid_size(*self._model.encoded_size(
            height, width, self._settings.max_pixels))
        return int(rows * columns)

    def _shared(self, left_out: Mapping[str, int]) -> dict[str, Any]:
        """Return the fields of a result that follow from the stream."""
        stream = self._stream
        return {
            'stream': stream.name, 'digest': stream.digest(), 'variant': self._variant,
            'stream_tokens': self._stream_tokens, 'left_out': dict(left_out),
            'inputs': stream.inputs, 'asked': questions_digest(stream.questions)}

    def run(self, on_frame: Callable[[], None], left_out: Mapping[str, int]) -> StreamResult:
        """Watch the stream, ask what is due, and return the result."""
        stream, variant, shared = self._stream, self._variant, self._shared(left_out)
        if self._budget is None:
            return StreamResult(budget_tokens=None, **shared)
        started = time.perf_counter()
        try:
            memory = VisualMemory(
                variant.apply(replace(self._settings, budget=self._budget)), self._model)
        except ConfigurationError as error:
            if variant.budget == str(self._budget):
                raise
            raise ConfigurationError(
                f'{variant.budget} is {self._budget:,} tokens here, in whole grids of '
                f'{self._largest:,}; {error}') from error
        timeline = MemoryTimeline(stream.name, variant, self._model, stream.survey().frames)
        refused: Counter[str] = Counter()
        reason = ''
        frames = iter(stream)
        while self._asked:
            frame = next(frames, None)
            self._ask_until(memory, None if frame is None else frame.stamp_ns)
            if frame is None or not self._asked:
                break
            self._met += 1
            try:
                with timeline.watching():
                    memory.add_frame(
                        frame.rgb, frame.stamp_ns, frame.camera, frame.pose,
                        frames_left=max(0, stream.survey().frames - len(self._stamps) - 1)
                        if variant.fills_up else None)
            except FrameError as error:
                refused[error.reason] += 1
                reason = reason or str(error)
                continue
            height, width = frame.rgb.shape[:2]
            self._seen.add(height, width, frame.camera, frame.stamp_ns)
            self._stamps.append(frame.stamp_ns)
            on_frame()
            timeline.after(
                memory.status(), frame.stamp_ns, len(self._stamps), stream.skipped,
                sum(stream.dropped.values()) + refused.total())
        if reason and not self._stamps:
            raise SourceError(
                f'{stream.name}: not one frame could be used ({dict(refused)}); the first: '
                f'{reason}')
        status = memory.status()
        return StreamResult(
            budget_tokens=self._budget, frames=len(self._stamps),
            seconds=time.perf_counter() - started, compressions=status.compressions,
            duplicates=status.frames_duplicate, skipped=stream.skipped,
            dropped=dict(Counter(stream.dropped) + refused),
            outcomes=self._outcomes, timeline=timeline.samples, **shared)

    def _ask_until(self, memory: VisualMemory, next_ns: int | None) -> None:
        """Ask what is due before a frame of that stamp; None: all that is left."""
        if not self._asked or (next_ns is not None and next_ns <= self._asked[0].at_ns):
            return
        if not self._stamps:
            if next_ns is None:
                return
            raise SourceError(
                f'{self._stream.questions_path or self._stream.name}: question '
                f'{self._asked[0].question.id!r} is asked before the first usable frame; ask '
                'later')
        due = [each for each in self._asked if next_ns is None or each.at_ns < next_ns]
        self._asked = self._asked[len(due):]
        with self._model.unnoticed():
            self._outcomes += self._answers(memory, due)

    def _answers(self, memory: VisualMemory, due: Sequence[TimedQuestion]) -> Iterator[Outcome]:
        stream, variant, budget = self._stream, self._variant, self._budget
        assert budget is not None
        status = memory.status()
        remembered = memory.coordinates().cpu().numpy()
        seen_tokens = self._seen.tokens(self._grid_tokens, self._per_grid)
        # Evidence tokens are those of all frames at their full size.
        whole = self._named_alike and self._met == len(self._stamps) and not (
            stream.skipped or stream.dropped or status.frames_duplicate)
        for each in due:
            question = each.question
            share = None
            if question.tokens is not None and len(question.tokens) and whole:
                share = retention(
                    question.tokens, remembered, status.frames_encoded // self._per_grid)
            try:
                answer = memory.ask(question.question)
            except QuestionError as error:
                raise SourceError(
                    f'{stream.questions_path or stream.name}: question {question.id!r}: {error}',
                ) from error
            worth = score(question, answer.text)
            yield Outcome(
                stream.name, question.suite or stream.suite, stream.seed, variant.policy,
                variant.budget, budget, question.id, question.kind, self._delay(each),
                question.question, question.answer, answer.text, is_right(worth), share,
                answer.memory_tokens, seen_tokens, status.compressions, self._stamps[-1], worth,
                answer.latency_s, answer.first_token_s, answer.memory_tokens, answer.memory_bytes,
                answer.new_tokens, each.evidence, list(question.options),
                self._pictures.get(question.id), answer.truncated,
                [[of.first_ns, of.last_ns, round(of.score, 4)] for of in answer.evidence])

    def _delay(self, asked: TimedQuestion) -> int | None:
        """Return the frames since the evidence: the question's number, or counted."""
        if not asked.evidence or asked.question.delay is not None:
            return asked.question.delay if asked.evidence else None
        ends = [end for start, end in asked.evidence if start <= self._stamps[-1]]
        if not ends:
            return None
        return len(self._stamps) - bisect_right(self._stamps, max(ends))


class OracleRun(VariantRun):
    """Each question answered from a full memory of its evidence and the grid before it."""

    def run(self, on_frame: Callable[[], None], left_out: Mapping[str, int]) -> StreamResult:
        """Show the evidence of one question after the other, and return all answers."""
        started, full = time.perf_counter(), Variant(FULL, FULL)
        for each in self._asked:
            part = EvidenceStream(self._stream, each, self._per_grid)
            [found] = VariantRun(
                part, [replace(each, question=part.question)], full, self._settings, self._model,
                leave_out=False).run(lambda: None, {}).outcomes
            self._outcomes.append(replace(
                found, policy=self._variant.policy, budget=self._variant.budget,
                seen_tokens=part.before.tokens(self._grid_tokens, self._per_grid)))
        return StreamResult(
            budget_tokens=self._budget, frames=self._stream.survey().frames,
            seconds=time.perf_counter() - started, outcomes=self._outcomes,
            **self._shared(left_out))


def _fitting(stream: Stream, settings: MemoryConfig, model: Any) -> MemoryConfig:
    """Lower the largest frame size to that of the stream, so that a budget need not hold more."""
    if model.family.pixels_for(1) is None:
        # All frames have one size, whatever that setting.
        return settings
    found = stream.survey().segments.found
    sizes = [(each.height, each.width) for each in found]
    encoded = [model.encoded_size(*size, settings.max_pixels) for size in sizes]
    most = max(height * width for height, width in encoded)
    if all(model.encoded_size(*size, most) == before for size, before in zip(sizes, encoded)):
        return replace(settings, max_pixels=most)
    return settings


def retention(tokens: Tokens, remembered: npt.NDArray[np.int32], pending_from: int) -> float:
    """
    Return the share of some visual tokens that is still in the memory.

    :param tokens: int ``[n, 3]``, n > 0: grid, row, column.
    :param remembered: int32 ``[layers, kv_heads, N, 3]``, what each layer and head holds.
    :param pending_from: grid number from which all tokens wait for their block, and are held.
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
