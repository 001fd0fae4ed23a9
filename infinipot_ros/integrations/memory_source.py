# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What tools ask: a running node, a recording or a saved memory, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from infinipot_ros.visual_memory.evidence import Evidence


@dataclass(frozen=True)
class SourceAnswer:
    """
    An answer, wherever it comes from; see ``visual_memory.answer.Answer``.

    :param evidence: with thumbnails, as far as they are held and were asked for; the number of a
        grid is not known of a node.
    """

    text: str
    note: str
    truncated: bool
    observed_from_ns: int
    observed_to_ns: int
    evidence: Sequence[Evidence]


@dataclass(frozen=True)
class WatchAlert:
    """A standing question's answer that became what is waited for."""

    answer: str
    previous: str
    stamp_ns: int
    evidence: Sequence[Evidence]


class MemorySource(Protocol):
    """
    A memory that is asked and not changed; all but :meth:`watch` are called from one thread.

    Each method may raise any ``InfinipotError``.
    """

    def ask(self, question: str, times: dict[str, str], cameras: Sequence[str]) -> SourceAnswer:
        """
        Ask it.

        :param times: ``since`` and ``until`` as far as given, in words.
        """

    def status(self) -> dict[str, Any]:
        """Describe it in plain types."""

    def watch(
        self, question: str, value: str, period_s: float, wait_s: float, cameras: Sequence[str],
    ) -> WatchAlert | None:
        """
        Wait for an answer of a standing question; it is ended again.

        :param value: what the answer has to become; empty: anything else than before.
        :param period_s: seconds of the images' time between two askings.
        :param wait_s: the most seconds to wait.
        :return: the first alert; None: there was none.
        """

    def close(self) -> None:
        """Let go of it; ends a :meth:`watch` that goes on."""
