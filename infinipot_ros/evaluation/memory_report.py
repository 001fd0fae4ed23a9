# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The answers of one saved memory, as text for people and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from infinipot_ros.errors import QuestionError
from infinipot_ros.evaluation.ask_report import plain_answer
from infinipot_ros.evaluation.report.formatting import (
    count_text,
    remark_lines,
    row_lines,
    size_text,
    span_text,
    stamp_text,
)
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.answer import Answer
from infinipot_ros.visual_memory.answer_text import printable
from infinipot_ros.visual_memory.evidence import Evidence
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.snapshot_summary import SnapshotSummary


def summary_dict(summary: SnapshotSummary) -> dict[str, Any]:
    """Return a summary in plain types."""
    return asdict(summary) | {
        'path': str(summary.path), 'settings': summary.settings.model_dump()}


def summary_text(summary: SnapshotSummary) -> str:
    """Return a summary for people."""
    saved = summary.settings
    budget = '' if saved.budget is None else f' of {saved.budget:,}'
    seconds = (summary.last_ns - summary.first_ns) / SECOND_NS
    rows = {
        'file': f'{summary.path}, {size_text(summary.size)}, written '
                f'{stamp_text(summary.modified_ns, None)}',
        'model': f'{printable(saved.model or "not named")}: {summary.model_type}, '
                 f'{count_text(summary.layers, "layer")} of '
                 f'{count_text(summary.kv_heads, "KV head")}, {summary.dtype}'
                 + (f' with keys and values in {summary.kv_dtype}' if summary.kv_dtype else ''),
        'memory': f'{summary.tokens:,} tokens{budget}, policy {printable(summary.policy)}, '
                  f'{count_text(summary.compressions, "compression")}',
        'frames': f'{summary.frames:,} encoded, {summary.frames_pending:,} waiting for a full '
                  f'block, {summary.recent_frames:,} kept as recent frames',
        'moments': f'{summary.moments:,} remembered, {summary.poses:,} with a pose, '
                   f'{count_text(summary.thumbnails, "picture")}',
        'cameras': ', '.join(
            f'{printable(name) or "(unnamed)"} {count_text(moments, "moment")}'
            for name, moments in summary.cameras.items()) or 'none',
        'observed': f'{span_text(summary.first_ns, summary.last_ns)} ({seconds:.1f} s)'
                    if summary.last_ns else 'nothing'}
    return '\n'.join(row_lines(rows))


def place_text(pose: Pose | None) -> str:
    """Return where a moment was seen; empty: not known."""
    return '' if pose is None else (
        f'at ({pose.x:.1f}, {pose.y:.1f}) in {printable(pose.frame_id)}')


def moment_text(evidence: Evidence, *, camera: bool = True) -> str:
    """
    Describe a moment: time, share of the attention, camera, place.

    :param camera: whether to name it.
    """
    seen_by = f'by {printable(evidence.camera)}' if camera and evidence.camera else ''
    about = ' '.join(filter(None, (seen_by, place_text(evidence.pose))))
    return (f'{span_text(evidence.first_ns, evidence.last_ns)} ({100 * evidence.score:.0f} %)'
            + (f' {about}' if about else ''))


@dataclass(frozen=True)
class MemoryReport:
    """
    What one saved memory answered.

    :param loaded: what of the file was loaded, in one line.
    :param answers: one a question, or why there is none.
    :param caveat: as for ``AskReport``; ``warnings`` too.
    """

    summary: SnapshotSummary
    loaded: str
    questions: Sequence[str]
    answers: Sequence[Answer | QuestionError]
    caveat: str = ''
    warnings: tuple[str, ...] = ()

    @property
    def several_cameras(self) -> bool:
        """Whether a moment's camera is worth its name."""
        return len(self.summary.cameras) > 1

    def as_dict(self) -> dict[str, Any]:
        """Return everything in plain types; stamps in nanoseconds."""
        return {
            'memory': summary_dict(self.summary), 'loaded': self.loaded,
            'caveat': self.caveat or None, 'warnings': list(self.warnings),
            'answers': [{'question': question, **self._plain(answer)}
                        for question, answer in zip(self.questions, self.answers)]}

    @staticmethod
    def _plain(answer: Answer | QuestionError) -> dict[str, Any]:
        if isinstance(answer, QuestionError):
            return {'error': answer.code.name, 'message': str(answer)}
        return plain_answer(answer)

    def answer_lines(self, number: int) -> list[str]:
        """Return one answer and what it rests on, in lines of at most 80 characters."""
        answer = self.answers[number]
        if isinstance(answer, QuestionError):
            return remark_lines('', f'no answer: {answer}', [])
        return [f'A: {printable(answer.text) or "(nothing)"}', *remark_lines(
            f'cut off after {count_text(answer.new_tokens, "token")}, the most it may have: '
            '--max-new-tokens' if answer.truncated else '',
            answer.note, [moment_text(each, camera=self.several_cameras)
                          for each in answer.evidence])]

    def as_text(self) -> str:
        """Return the answers with what they rest on, then what the memory holds."""
        lines: list[str] = []
        for number, question in enumerate(self.questions):
            lines += [f'Q: {question.strip()}', *self.answer_lines(number), '']
        return '\n'.join([*lines, summary_text(self.summary)])
