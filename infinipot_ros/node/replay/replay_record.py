# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Record a replay in the form in which ``infinipot eval`` keeps its outcomes.

In addition, ``live.jsonl`` gets a line for each question as soon as it is answered, with what had
become of the frames: an answer that rests on all of them equals that of the offline path, another
may differ because frames are missing.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.outcome import Outcome, StreamResult
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.scoring import is_right, score
from infinipot_ros.evaluation.stream import Segments, Stream, questions_digest
from infinipot_ros.evaluation.variants import Variant
from infinipot_ros.node.replay.frame_accounting import count_frames
from infinipot_ros.node.replay.question_scheduler import Result
from infinipot_ros.ros_time import nanoseconds
from infinipot_ros.vlm.families.model_family import ModelFamily

LIVE = 'live.jsonl'
#: Samples of the timeline: evenly over the stream, and in addition at compressions.
REGULAR, AT_COMPRESSIONS = 190, 100
LOST_ON_WAY = 'lost_on_the_way'


class ReplayRecord:
    """
    Collects one replay.

    :param folder: where ``live.jsonl`` goes.
    :param stream: the recording and its questions.
    :param variant: policy and budget of the node.
    :param family: of the node's model; ``max_pixels``, to which it shrinks frames.
    :param before: the node's status before the first frame.
    :param pid: the node's process, where it is on this machine.
    :raises ConfigurationError: the folder cannot be written.
    :raises SourceError: a question is due before the first frame, or after the last.
    :ivar questions: those that can be asked; their times are header stamps.
    :ivar left_out: the others, counted by why.
    :ivar results: with their outcomes, in the order of the answers.
    """

    def __init__(self, folder: Path, stream: Stream, variant: Variant, family: ModelFamily,
                 max_pixels: int, before: Any, pid: int | None = None) -> None:
        self._folder, self._stream, self._variant = folder, stream, variant
        self._family, self._max_pixels, self.before = family, max_pixels, before
        self._process = None if pid is None else psutil.Process(pid)
        self._info = stream.survey()
        timed, self.left_out = stream.schedule()
        self.questions: list[Question] = [
            replace(each.question, ask_at_ns=each.at_ns, clock='stamp', evidence=each.evidence)
            for each in timed]
        self._sample_every = max(1, -(-self._info.frames // REGULAR))
        self._samples: list[Sample] = []
        self._extra = self._compressions = 0
        self.results: list[tuple[Result, Outcome]] = []
        try:
            (folder / LIVE).write_text('', encoding='utf-8')
        except OSError as error:
            raise _unwritable(folder, error) from error

    def add_result(self, result: Result) -> Outcome:
        """
        Write a question's outcome at once, so that it survives a kill.

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

    def add_sample(self, status: Any, sent: int) -> None:
        """Sample the node's status, if a sample is due; ``sent`` is the images sent so far."""
        count = count_frames(sent, status, self.before)
        last = self._samples[-1] if self._samples else None
        if not count.encoded or (last is not None and count.encoded == last.frames):
            return
        due = last is None or count.encoded - last.frames >= self._sample_every
        compressed = status.compressions > self._compressions
        if not due and not (compressed and self._extra < AT_COMPRESSIONS):
            return
        self._extra += not due
        self._compressions = int(status.compressions)
        stamp_ns = nanoseconds(status.newest_stamp)
        self._samples.append(Sample(
            self._stream.name, self._variant.policy, self._variant.budget, stamp_ns,
            round((stamp_ns - self._info.first_ns) / 1e9, 3), count.encoded, count.rate_limited,
            count.lost, int(status.memory_tokens), int(status.memory_bytes),
            # The node does not publish the time of each stage.
            None, None, None, self._resident_bytes()))

    def count_right(self, complete: bool) -> dict[str, int]:
        """Count ``questions`` answered with every frame, or else with some missing; ``right``."""
        rights = [outcome.right for result, outcome in self.results
                  if result.frames.complete == complete]
        return {'questions': len(rights), 'right': sum(rights)}

    def run(self, status: Any, sent: int, seconds: float, ended: bool) -> StreamResult:
        """
        Sum up.

        :param status: the node's last.
        :param sent: images sent to it.
        :param ended: nothing is on the way any more; else it was interrupted.
        """
        count = count_frames(sent, status, self.before)
        dropped = {reason: each for reason, each in count.dropped.items() if reason != 'rate'}
        if ended and count.outstanding:
            dropped[LOST_ON_WAY] = count.outstanding
        return StreamResult(
            self._stream.name, self._stream.digest(), self._variant,
            self._tokens(self._info.frames), int(status.budget_tokens), frames=count.encoded,
            seconds=seconds, compressions=int(status.compressions - self.before.compressions),
            skipped=count.rate_limited, dropped=dropped, left_out=dict(self.left_out),
            asked=questions_digest(self._stream.questions), inputs=self._stream.inputs,
            outcomes=[outcome for _, outcome in self.results], timeline=self._samples)

    def _outcome(self, result: Result) -> Outcome:
        question, response, status = result.question, result.response, result.status
        answer = response.answer if response.success else ''
        points = score(question, answer)
        return Outcome(
            self._stream.name, question.suite or self._stream.suite, self._stream.seed,
            self._variant.policy, self._variant.budget, int(status.budget_tokens), question.id,
            question.kind, question.delay if len(question.evidence) else None, question.question,
            question.answer, answer, is_right(points), None, int(response.memory_tokens),
            self._tokens(result.frames.encoded),
            int(status.compressions - self.before.compressions), result.asked_ns, points,
            nanoseconds(response.latency) / 1e9,
            # The service returns the answer whole, without the number of its tokens.
            None, int(response.memory_tokens), int(status.memory_bytes), None,
            question.evidence, list(question.options), self._stream.pictures.get(question.id),
            truncated=response.truncated,
            rests_on=[[nanoseconds(of.stamp_from), nanoseconds(of.stamp_to), round(of.score, 4)]
                      for of in response.evidence])

    def _tokens(self, frames: int) -> int:
        """Return the visual tokens of so many frames from the start."""
        taken, left = Segments(), frames
        for each in self._info.segments.found:
            part = replace(each, frames=min(left, each.frames))
            taken.found.append(part)
            left -= part.frames
        return taken.tokens(self._grid_tokens, self._family.FRAMES_PER_GRID)

    def _grid_tokens(self, height: int, width: int) -> int:
        rows, columns = self._family.grid_size(
            *self._family.encoded_size(height, width, self._max_pixels))
        return rows * columns

    def _resident_bytes(self) -> int | None:
        if self._process is None:
            return None
        try:
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None


def _evidence(message: Any) -> dict[str, Any]:
    """Return a ``msg/Evidence`` in plain types; position in metres, None where not known."""
    point = message.pose.pose.pose.position
    return {
        'stamp_ns': nanoseconds(message.header.stamp),
        'from_ns': nanoseconds(message.stamp_from), 'to_ns': nanoseconds(message.stamp_to),
        'camera': message.camera, 'score': round(message.score, 6),
        'position': [point.x, point.y, point.z] if message.has_pose else None}


def _unwritable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f'{folder} cannot be written: {error.strerror}; free some space, or give another --output')
