# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory in this process as a source for tools: of a recording, or loaded from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from infinipot_ros.errors import ConfigurationError, QuestionError
from infinipot_ros.evaluation.report.formatting import clock_start, span_text
from infinipot_ros.evaluation.time_parsing import stamp_of, typed_scope
from infinipot_ros.integrations.memory_source import SourceAnswer, WatchAlert
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory


class HeldMemory:
    """
    A ``MemorySource`` over a memory that nothing is added to any more.

    :param name: what it is of, for the status.
    """

    def __init__(self, memory: VisualMemory, name: str) -> None:
        self._memory, self._name = memory, name

    def ask(self, question: str, times: dict[str, str], cameras: Sequence[str]) -> SourceAnswer:
        """See ``MemorySource``."""
        status = self._memory.status()
        held = status.oldest_ns, status.newest_ns
        start_ns = clock_start(held[0])
        stamps = {option: stamp_of(text, start_ns, held[1], option)
                  for option, text in times.items()}
        scope = Scope(stamps.get('since'), stamps.get('until'), tuple(cameras))
        try:
            answer = self._memory.ask(question, scope=scope)
        except QuestionError as error:
            raise typed_scope(error, times, start_ns, held) from error
        return SourceAnswer(
            answer.text, '. '.join(filter(None, (answer.note, self._memory.caveat))),
            answer.truncated, answer.observed_from_ns, answer.observed_to_ns, answer.evidence)

    def status(self) -> dict[str, Any]:
        """See ``MemorySource``."""
        status, settings = self._memory.status(), self._memory.settings
        return {
            'source': self._name, 'live': False, 'model': settings.model,
            'policy': settings.policy, 'frames': status.frames_encoded + status.frames_pending,
            'memory_tokens': status.tokens, 'budget_tokens': status.budget_tokens,
            'compressions': status.compressions, 'cameras': sorted(status.camera_tokens),
            'moments': len(self._memory.moments()),
            'observed': span_text(status.oldest_ns, status.newest_ns),
            'oldest_ns': status.oldest_ns, 'newest_ns': status.newest_ns,
            'note': self._memory.caveat}

    def watch(
        self, question: str, value: str, period_s: float, wait_s: float, cameras: Sequence[str],
    ) -> WatchAlert | None:
        """:raises ConfigurationError: nothing new is seen."""
        raise ConfigurationError(
            f'{self._name} does not go on, so there is nothing to watch: ask it, or watch a '
            'running node (infinipot mcp --node /infinipot)')

    def close(self) -> None:
        """See ``MemorySource``."""
