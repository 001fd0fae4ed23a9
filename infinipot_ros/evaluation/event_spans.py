# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Standing questions about a recording: the spans of time over which they had an answer.

As the node's watches, they are asked again and again while the memory watches, by the stamps of
the frames; here nothing is ever skipped, because the recording waits.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from infinipot_ros.errors import ConfigurationError, FrameError, InfinipotError, SourceError
from infinipot_ros.evaluation.outcome import StreamResult
from infinipot_ros.evaluation.playback import check_questions
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.evaluation.stream import Stream, questions_digest
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.visual_memory.answer import Answer
from infinipot_ros.visual_memory.answer_text import check_rule, matches, same_answer
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory


@dataclass(frozen=True)
class EventWatch:
    """
    A standing question.

    :param value: the answer that makes an event; empty: every answer, until it changes.
    :param match: how an answer meets it, as in ``answer_text.matches``.
    """

    question: str
    value: str = ''
    match: str = ''

    def goes_on(self, before: str, answer: str) -> bool:
        """Return whether an answer belongs to the event of the one before."""
        return self.begins(answer) and (bool(self.value) or same_answer(before, answer))

    def begins(self, answer: str) -> bool:
        """Return whether an answer is one of an event."""
        return not self.value or matches(answer, self.value, self.match)


@dataclass(frozen=True)
class EventPlan:
    """
    What is asked, and when.

    :param every_ns: time of the recording between two rounds of questions.
    :param window_ns: ask only about what was seen in so long before; 0: about everything.
    """

    watches: tuple[EventWatch, ...]
    every_ns: int
    window_ns: int = 0


@dataclass(frozen=True)
class EventsResult(StreamResult):
    """
    The events of one recording.

    :param events: one for each span, in order of their starts; plain values.
    """

    events: list[dict[str, Any]] = field(default_factory=list)


def read_watch(text: str, match: str = '') -> EventWatch:
    """
    Read ``QUESTION`` or ``QUESTION=VALUE``.

    :raises ConfigurationError: no question, or a match that is no rule or has no value.
    """
    question, mark, value = text.rpartition('=')
    if not mark:
        question, value = text, ''
    watch = EventWatch(question.strip(), value.strip(), match)
    if not watch.question or (mark and not watch.value):
        raise ConfigurationError(
            f'--watch is {text!r}; give a question, and perhaps the answer that makes an event: '
            '"Is a person in view?"=yes')
    try:
        check_rule(watch.value, match)
    except InfinipotError as error:
        raise ConfigurationError(f'--match: {error}') from error
    return watch


def find_events(
    stream: Stream, variants: Iterable[Variant], settings: MemoryConfig, model: Any,
    on_frame: Callable[[], None] = lambda: None, *, plan: EventPlan, leave_out: bool = False,
    on_refused: Callable[[Variant, ConfigurationError], None] | None = None,
) -> Iterator[EventsResult]:
    """
    Show a stream to a memory of each variant and ask the standing questions.

    The parameters but ``plan`` are those of ``stream_runner.run_stream``; a fixed budget holds
    whatever the stream's length, so ``leave_out`` changes nothing.

    :raises SourceError: not one frame could be used.
    :raises QuestionError: a question that can never be asked.
    """
    for variant in variants:
        # A model to all who use it, though not by its type.
        sure: Any = FirstTokenModel(model)
        try:
            memory = VisualMemory(
                replace(variant.apply(settings), budget=int(variant.budget)), sure)
        except ConfigurationError as error:
            if on_refused is None:
                raise
            on_refused(variant, error)
            continue
        yield _EventRun(stream, variant, memory, sure, plan).run(on_frame)


class FirstTokenModel:
    """
    A loaded model that notes how sure it was of the first token of an answer.

    :ivar probability: of the likeliest first token; None before the first answer.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.probability: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the scores of the next token, as the model does."""
        scores: Tensor = self._model.logits(hidden)
        if self.probability is None:
            self.probability = float(scores.float().softmax(-1).max())
        return scores


class _EventRun:
    """One recording and one memory."""

    def __init__(self, stream: Stream, variant: Variant, memory: VisualMemory,
                 sure: FirstTokenModel, plan: EventPlan) -> None:
        self._stream, self._variant, self._memory = stream, variant, memory
        self._sure, self._plan = sure, plan
        self._open: dict[EventWatch, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._asked_ns: int | None = None

    def run(self, on_frame: Callable[[], None]) -> EventsResult:
        """Watch, ask, and return the events."""
        check_questions(self._memory, [watch.question for watch in self._plan.watches])
        started, frames, last_ns = time.perf_counter(), 0, 0
        refused: Counter[str] = Counter()
        reason = ''
        for frame in self._stream:
            try:
                self._memory.add_frame(frame.rgb, frame.stamp_ns, frame.camera, frame.pose)
            except FrameError as error:
                refused[error.reason] += 1
                reason = reason or str(error)
                continue
            frames, last_ns = frames + 1, frame.stamp_ns
            on_frame()
            since_ns = None if self._asked_ns is None else last_ns - self._asked_ns
            if since_ns is not None and since_ns < 0:
                # A clock that was set back: no span reaches over that.
                self._close_all()
            if since_ns is None or not 0 <= since_ns < self._plan.every_ns:
                self._ask(last_ns)
        if not frames:
            raise SourceError(
                f'{self._stream.name}: not one frame could be used'
                + (f' ({dict(refused)}); the first: {reason}' if reason else ''))
        if last_ns != self._asked_ns:
            self._ask(last_ns)
        self._close_all()
        status = self._memory.status()
        inputs = self._stream.inputs
        return EventsResult(
            self._stream.name, ' '.join(each['sha256'] for each in inputs), self._variant,
            status.tokens, int(self._variant.budget), frames, time.perf_counter() - started,
            status.compressions, status.frames_duplicate, self._stream.skipped,
            dict(Counter(self._stream.dropped) + refused), asked=questions_digest(()),
            inputs=inputs, events=sorted(self._events, key=lambda each: each['start_ns']))

    def _ask(self, now_ns: int) -> None:
        self._asked_ns = now_ns
        window_ns = self._plan.window_ns
        scope = Scope(since_ns=now_ns - window_ns) if window_ns else Scope()
        for watch in self._plan.watches:
            self._sure.probability = None
            answer = self._memory.ask(watch.question, scope=scope)
            event = self._open.get(watch)
            if event is not None and not watch.goes_on(event['answer'], answer.text):
                self._close(watch)
                event = None
            if event is not None:
                event['end_ns'] = now_ns
            elif watch.begins(answer.text):
                self._open[watch] = self._begun(watch, answer, now_ns)

    def _begun(self, watch: EventWatch, answer: Answer, now_ns: int) -> dict[str, Any]:
        moments = [asdict(each) for each in answer.evidence]
        for each in moments:
            # Grids are numbered anew as the memory watches on.
            del each['grid']
            if each['thumbnail'] is not None:
                each['thumbnail'] = base64.b64encode(each['thumbnail']).decode('ascii')
        return {
            'recording': self._stream.name, 'question': watch.question, 'value': watch.value,
            'start_ns': now_ns, 'end_ns': now_ns, 'answer': answer.text,
            'confidence': self._sure.probability, 'evidence': moments}

    def _close(self, watch: EventWatch) -> None:
        self._events.append(self._open.pop(watch))

    def _close_all(self) -> None:
        for watch in [*self._open]:
            self._close(watch)


def shard_of(recordings: Sequence[Recording], shard: str) -> list[Recording]:
    """
    Return the ``i``-th of ``n`` shares, ``i/n`` from 1/n to n/n: every n-th by their names.

    :raises ConfigurationError: it is not such a share.
    """
    first, _, count = shard.partition('/')
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise ConfigurationError(f'--shard is {shard!r}; give I/N, from 1/N to N/N: 2/8, say')
    return sorted(recordings, key=lambda each: str(each.name))[int(first) - 1::int(count)]
