# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The part of the memory a question is about: a span of time, some of the cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.observations import Observation, span


@dataclass(frozen=True)
class Scope:
    """
    The part of the memory an answer may use.

    An observation belongs to a span of time that it overlaps. What lies outside is not attended
    to; what lies inside was encoded with everything visible that was remembered at that time.

    :param since_ns: first stamp, nanoseconds; None: from the start.
    :param until_ns: last stamp, nanoseconds; None: to the end.
    :param cameras: names; empty: all cameras.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    cameras: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.since_ns is None and self.until_ns is None and not self.cameras

    def check(self, known: Sequence[str]) -> None:
        """
        Check that the scope can hold anything.

        :param known: the cameras there are.
        :raises QuestionError: ``INVALID_SCOPE``, ``UNKNOWN_CAMERA``.
        """
        if self.since_ns is not None and self.until_ns is not None and (
                self.since_ns > self.until_ns):
            raise QuestionError(
                QuestionCode.INVALID_SCOPE,
                f'since ({_seconds(self.since_ns)}) is after until ({_seconds(self.until_ns)}); '
                'swap them')
        for camera in self.cameras:
            if camera not in known:
                raise QuestionError(
                    QuestionCode.UNKNOWN_CAMERA,
                    f'there is no camera {camera!r}; there are '
                    f'{", ".join(repr(name) for name in known) or "none yet"}')

    def holds(self, observation: Observation) -> bool:
        """Return whether an observation belongs to the scope."""
        return (
            (self.since_ns is None or observation.last_ns >= self.since_ns)
            and (self.until_ns is None or observation.first_ns <= self.until_ns)
            and (not self.cameras or observation.camera in self.cameras))

    def choose(self, observations: Mapping[int, Observation]) -> list[int]:
        """
        Return the grids that belong to the scope.

        :raises QuestionError: ``NOTHING_IN_SCOPE``, with the span that is remembered.
        """
        chosen = [grid for grid, each in observations.items() if self.holds(each)]
        if not chosen:
            others = [each for each in observations.values()
                      if not self.cameras or each.camera in self.cameras]
            instead = 'nor anything else of these cameras'
            if others:
                first_ns, last_ns = span(others)
                instead = f'the memory goes from {_seconds(first_ns)} to {_seconds(last_ns)}'
            raise QuestionError(
                QuestionCode.NOTHING_IN_SCOPE,
                f'nothing is remembered {self._describe()}; {instead}')
        return chosen

    def _describe(self) -> str:
        parts = []
        if self.since_ns is not None:
            parts.append(f'since {_seconds(self.since_ns)}')
        if self.until_ns is not None:
            parts.append(f'until {_seconds(self.until_ns)}')
        if self.cameras:
            parts.append(f'from {", ".join(repr(name) for name in self.cameras)}')
        return ' '.join(parts)


def _seconds(stamp_ns: int) -> str:
    return f'{stamp_ns // SECOND_NS}.{stamp_ns % SECOND_NS // 1_000_000:03d} s'
