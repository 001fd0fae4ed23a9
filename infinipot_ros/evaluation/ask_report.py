# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The answers of ``infinipot ask`` and what they cost, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from infinipot_ros.evaluation.playback import Replay
from infinipot_ros.evaluation.report.formatting import (
    clock_text,
    count_text,
    remark_lines,
    row_lines,
    size_text,
)
from infinipot_ros.recordings.frame_source import FrameSource
from infinipot_ros.visual_memory.answer import Answer, MemoryStatus
from infinipot_ros.visual_memory.answer_text import printable
from infinipot_ros.visual_memory.evidence import Evidence
from infinipot_ros.visual_memory.memory_config import MemoryConfig


def plain_answer(answer: Answer) -> dict[str, Any]:
    """Return what JSON can hold, so no thumbnails."""
    plain = asdict(answer)
    for each in plain['evidence']:
        del each['thumbnail']
    return plain


@dataclass(frozen=True)
class AskReport:
    """
    The answers of one memory about one recording.

    :param status: of the memory after the last answer.
    :param questions: at least one; ``answers`` are in the same order.
    :param caveat: what to know before believing the answers; empty where nothing is needed;
        ``warnings``, what to know of model and settings.
    """

    source: FrameSource
    settings: MemoryConfig
    replay: Replay
    status: MemoryStatus
    questions: Sequence[str]
    answers: Sequence[Answer]
    caveat: str = ''
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """
        Return everything in plain types.

        Stamps are the memory's, in nanoseconds: of videos and folders, subtract ``origin_ns`` for
        the time in the recording. Token counts are per layer and KV head.
        """
        run, status = self.replay, self.status
        return {
            'recording': {
                'path': str(self.source.path),
                'kind': self.source.kind,
                'topic': getattr(self.source, 'topic', None),
                'origin_ns': self.source.origin_ns,
            },
            'settings': asdict(self.settings),
            'caveat': self.caveat or None,
            'warnings': list(self.warnings),
            'answers': [
                {'question': question, **plain_answer(answer)}
                for question, answer in zip(self.questions, self.answers)
            ],
            'frames': {
                'seen': run.seen,
                'skipped': run.skipped,
                'duplicates': run.duplicates,
                'taken': run.taken,
                'encoded': status.frames_encoded,
                'pending': status.frames_pending,
                'dropped': dict(run.dropped),
            },
            'memory': {
                'tokens': status.tokens,
                'peak_tokens': run.peak_tokens,
                'budget_tokens': status.budget_tokens,
                'bytes': status.bytes,
                'budget_bytes': status.budget_bytes,
                'compressions': status.compressions,
                'segments': status.segments,
                'oldest_ns': status.oldest_ns,
                'newest_ns': status.newest_ns,
            },
            'seconds': {
                'observe_per_frame': run.observe_s / run.taken,
                'observe': run.observe_s,
                'replay': run.total_s,
            },
        }

    def as_json(self) -> str:
        """Return :meth:`as_dict` as JSON."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)

    def as_text(self) -> str:
        """Return the answers with what they rest on, then frames, memory and timing."""
        lines: list[str] = []
        for question, answer in zip(self.questions, self.answers):
            lines += [f'Q: {question.strip()}', f'A: {printable(answer.text) or "(nothing)"}']
            lines += remark_lines(
                f'cut off after {count_text(answer.new_tokens, "token")}, the most it may have: '
                '--max-new-tokens' if answer.truncated else '',
                answer.note, self._moments(answer.evidence))
            lines.append('')
        rows = {
            'observed': self._observed(),
            'frames': self._frames(),
            'memory': self._memory(),
            'timing': self._timing(),
        }
        return '\n'.join(lines + row_lines(rows))

    def _moments(self, evidence: Sequence[Evidence]) -> list[str]:
        origin = self.source.origin_ns or self.replay.first_ns
        return [
            '-'.join(dict.fromkeys(
                clock_text((stamp - origin) / 1e9) for stamp in (each.first_ns, each.last_ns)))
            + f' ({100 * each.score:.0f} %{", looked at again" * each.looked_again})'
            for each in evidence]

    def _observed(self) -> str:
        answer, origin = self.answers[-1], self.source.origin_ns
        first, last = answer.observed_from_ns, answer.observed_to_ns
        return (
            f'{(first - origin) / 1e9:.3f} s to {(last - origin) / 1e9:.3f} s '
            f'({(last - first) / 1e9:.1f} s) of {self.source.path.name}'
        )

    def _frames(self) -> str:
        run = self.replay
        reasons = ', '.join(f'{count} {reason}' for reason, count in sorted(run.dropped.items()))
        return (
            f'{run.seen} seen, {run.skipped} left out by the rate, '
            + (f'{run.duplicates} like the last one taken, ' if run.duplicates else '') +
            f'{self.status.frames_encoded} encoded, '
            f'{self.status.frames_pending} waiting for a full block, '
            f'{run.dropped.total()} dropped' + (f' ({reasons})' if reasons else '')
        )

    def _memory(self) -> str:
        status = self.status
        return (
            f'{status.tokens:,} tokens of {status.budget_tokens:,} '
            f'(peak {self.replay.peak_tokens:,}), {size_text(status.bytes)} of '
            f'{size_text(status.budget_bytes)}, {status.compressions} compressions, '
            f'policy {self.settings.policy}'
        )

    def _timing(self) -> str:
        run, answer = self.replay, self.answers[-1]
        return (
            f'{1000 * run.observe_s / run.taken:.1f} ms to encode a frame, first token '
            f'{answer.first_token_s:.3f} s, answer {answer.latency_s:.3f} s, '
            f'recording {run.total_s:.1f} s'
        )
