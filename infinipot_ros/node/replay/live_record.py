# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a live replay came to, in the form ``infinipot eval`` keeps its outcomes in.

Beside that, ``live.jsonl`` tells of each question, as soon as it is answered, what had become of
the frames: an answer that rests on all of them is that of the offline path, and one that does not
may differ for their lack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.outcome import Outcome, StreamResult
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.run_store import OUTCOMES
from infinipot_ros.evaluation.scoring import is_right, score
from infinipot_ros.evaluation.stream import Segments, Stream, TimedQuestion, questions_digest
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.node.replay.frame_accounting import count_frames
from infinipot_ros.node.replay.question_scheduler import Result
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.vlm.model import MIN_PIXELS
from infinipot_ros.vlm.pixels import smart_resize

LIVE = 'live.jsonl'
#: Samples of the timeline: evenly over the stream, and besides at compressions.
REGULAR, AT_COMPRESSIONS = 190, 100
#: Side in pixels of what makes one visual token, in every Qwen2-VL and Qwen2.5-VL.
TOKEN_SIDE = 28
LOST_ON_WAY = 'lost_on_the_way'


@dataclass(frozen=True)
class LiveQuestion:
    """A question as the node's side takes it (``ScheduledQuestion``), and where it is from."""

    id: str
    question: str
    ask_at_ns: int
    asked: TimedQuestion


def live_questions(asked: Sequence[TimedQuestion]) -> list[LiveQuestion]:
    """Take a stream's schedule."""
    return [LiveQuestion(each.question.id, each.question.question, each.at_ns, each)
            for each in asked]


class LiveRecord:
    """
    Collects one replay.

    :param folder: where ``live.jsonl`` goes.
    :param cell: policy and budget of the node.
    :param max_pixels: to which the node shrinks frames.
    :param before: the node's status before the first frame.
    :param pid: the node's process, where it is on this machine.
    :raises ConfigurationError: the folder cannot be written.
    :ivar results: with whether each is right, in the order of the answers.
    """

    def __init__(self, folder: Path, stream: Stream, cell: Variant, max_pixels: int, before: Any,
                 pid: int | None = None) -> None:
        self._folder, self._stream, self._cell = folder, stream, cell
        self._max_pixels, self.before = max_pixels, before
        self._process = None if pid is None else psutil.Process(pid)
        self._survey = stream.survey()
        self._every = max(1, -(-self._survey.frames // REGULAR))
        self._samples: list[Sample] = []
        self._extra = self._compressions = 0
        self.results: list[tuple[Result, Outcome]] = []
        try:
            (folder / LIVE).write_text('', encoding='utf-8')
        except OSError as error:
            raise _unwritable(folder, error) from error

    def answered(self, result: Result) -> Outcome:
        """
        Keep a question's outcome; it survives a kill.

        :raises ConfigurationError: it cannot be written.
        """
        outcome = self._outcome(result)
        response = result.response
        line = {
            'id': result.question.id, 'asked_ns': result.asked_ns, 'answer': response.answer,
            'right': outcome.right, 'error_code': response.error_code,
            'message': response.message, 'observed_from_ns': nanoseconds(response.observed_from),
            'observed_to_ns': nanoseconds(response.observed_to),
            'evidence': [_evidence(each) for each in response.evidence],
            'round_trip_s': round(result.waited_s, 6), 'frames': result.frames.as_dict()}
        try:
            with (self._folder / LIVE).open('a', encoding='utf-8') as file:
                file.write(json.dumps(line, ensure_ascii=False) + '\n')
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        self.results.append((result, outcome))
        return outcome

    def sampled(self, status: Any, sent: int) -> None:
        """Take a sample of the node's status, if one is due."""
        count = count_frames(sent, status, self.before)
        last = self._samples[-1] if self._samples else None
        if not count.encoded or (last is not None and count.encoded == last.frames):
            return
        due = last is None or count.encoded - last.frames >= self._every
        compressed = status.compressions > self._compressions
        if not due and not (compressed and self._extra < AT_COMPRESSIONS):
            return
        self._extra += not due
        self._compressions = int(status.compressions)
        stamp_ns = nanoseconds(status.newest_stamp)
        self._samples.append(Sample(
            self._stream.name, self._cell.policy, self._cell.budget, stamp_ns,
            round((stamp_ns - self._survey.first_ns) / 1e9, 3), count.encoded, count.rate_limited,
            count.lost, int(status.memory_tokens), int(status.memory_bytes),
            # What each stage takes is not told outside the node.
            None, None, None, self._resident()))

    def run(self, status: Any, sent: int, seconds: float, left_out: Mapping[str, int],
            ended: bool) -> StreamResult:
        """
        Sum up.

        :param status: the node's last.
        :param sent: images that went out.
        :param left_out: questions that were not asked, by when they would have been.
        :param ended: nothing is on its way any more; else it was interrupted.
        """
        count = count_frames(sent, status, self.before)
        dropped = {reason: each for reason, each in count.dropped.items() if reason != 'rate'}
        if ended and count.outstanding:
            dropped[LOST_ON_WAY] = count.outstanding
        return StreamResult(
            self._stream.name, self._stream.digest(), self._cell,
            self._tokens(self._survey.frames), int(status.budget_tokens), frames=count.encoded,
            seconds=seconds, compressions=int(status.compressions - self.before.compressions),
            skipped=count.rate_limited, dropped=dropped, left_out=dict(left_out),
            asked=questions_digest(self._stream.questions), inputs=self._stream.inputs,
            outcomes=[outcome for _, outcome in self.results], timeline=self._samples)

    def _outcome(self, result: Result) -> Outcome:
        asked: TimedQuestion = result.question.asked
        question, response, status = asked.question, result.response, result.status
        answer = response.answer if response.success else ''
        worth = score(question, answer)
        return Outcome(
            self._stream.name, question.suite or self._stream.suite, self._stream.seed,
            self._cell.policy, self._cell.budget, int(status.budget_tokens), question.id,
            question.kind, _delay(question), question.question, question.answer, answer,
            is_right(worth), None, int(response.memory_tokens),
            self._tokens(result.frames.encoded),
            int(status.compressions - self.before.compressions), result.asked_ns, worth,
            nanoseconds(response.latency) / 1e9,
            # The service gives the answer whole, and not how many tokens it was.
            None, int(response.memory_tokens), int(status.memory_bytes), None, asked.evidence,
            list(question.options), self._stream.pictures.get(question.id))

    def _tokens(self, frames: int) -> int:
        """Visual tokens of so many frames from the start."""
        taken, left = Segments(), frames
        for each in self._survey.segments.found:
            part = type(each)(each.height, each.width, each.camera, min(left, each.frames))
            taken.found.append(part)
            left -= part.frames
        return taken.tokens(self._grid_tokens)

    def _grid_tokens(self, height: int, width: int) -> int:
        rows, columns = smart_resize(
            height, width, factor=TOKEN_SIDE, min_pixels=min(MIN_PIXELS, self._max_pixels),
            max_pixels=self._max_pixels)
        return rows * columns // TOKEN_SIDE ** 2

    def _resident(self) -> int | None:
        if self._process is None:
            return None
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None


def _evidence(moment: Any) -> dict[str, Any]:
    """Tell a ``msg/Evidence`` in plain types; its pose as x, y, z in metres, None: not known."""
    point = moment.pose.pose.pose.position
    return {
        'stamp_ns': nanoseconds(moment.header.stamp), 'from_ns': nanoseconds(moment.stamp_from),
        'to_ns': nanoseconds(moment.stamp_to), 'camera': moment.camera,
        'score': round(moment.score, 6),
        'position': [point.x, point.y, point.z] if moment.has_pose else None}


def _delay(question: Question) -> int | None:
    return question.delay if len(question.evidence) else None


def _unwritable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f'{folder} cannot be written: {error.strerror}; free some space, or give another --output')


@dataclass(frozen=True)
class Comparison:
    """
    Live answers beside those of the offline path to the same questions.

    :param same: questions answered alike.
    :param for_losses: those answered otherwise, with frames missing; ``unexplained`` without.
    :param unknown: questions the offline path was not asked, or not by this policy and budget.
    """

    same: list[str]
    for_losses: list[str]
    unexplained: list[str]
    unknown: list[str]

    def as_dict(self) -> dict[str, list[str]]:
        """Tell it in plain types."""
        return asdict(self)


def compare(results: Sequence[tuple[Result, Outcome]], folder: Path,
            same: Callable[[str, str], bool]) -> Comparison:
    """
    Compare with an output folder of ``infinipot eval``.

    :param same: whether two answers are alike.
    :raises ConfigurationError: there are no outcomes in it.
    """
    try:
        # Not splitlines(): an answer may hold any other line separator of Unicode.
        lines = (folder / OUTCOMES).read_text(encoding='utf-8').split('\n')[:-1]
        offline = {_key(line): str(line['answer']) for line in map(json.loads, lines)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{folder} holds no outcomes to compare with ({error}); give the --output of an '
            '`infinipot eval` of this bag') from error
    found = Comparison([], [], [], [])
    for result, outcome in results:
        key = _key(vars(outcome))
        if key not in offline:
            found.unknown.append(outcome.id)
        elif same(outcome.answer, offline[key]):
            found.same.append(outcome.id)
        elif result.frames.complete:
            found.unexplained.append(outcome.id)
        else:
            found.for_losses.append(outcome.id)
    return found


def _key(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(line[name]) for name in ('id', 'question', 'policy', 'budget'))
