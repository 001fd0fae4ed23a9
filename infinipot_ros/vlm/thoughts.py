# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model writes between ``<think>`` and ``</think>`` is left out of its answers."""

from __future__ import annotations

OPEN, CLOSE = '<think>', '</think>'


class ThoughtFilter:
    """
    Pass a text on piece by piece, without the thoughts in it.

    :param thinking: whether the text begins inside a thought.
    :ivar thinking: whether what comes next is part of a thought.
    """

    def __init__(self, *, thinking: bool = False) -> None:
        self.thinking = thinking
        self._held = ''

    def push(self, text: str) -> str:
        """Add some text and return what may be said; the start of a tag is held back."""
        self._held += text
        said = ''
        while True:
            # An end without a start is left out too: its thought was said already.
            tags = (CLOSE,) if self.thinking else (OPEN, CLOSE)
            found = [(self._held.find(tag), tag) for tag in tags if tag in self._held]
            if not found:
                break
            place, tag = min(found)
            if not self.thinking:
                said += self._held[:place]
            self._held = self._held[place + len(tag):]
            self.thinking = tag == OPEN
        kept = _started(self._held)
        if not self.thinking:
            said += self._held[:len(self._held) - kept]
        self._held = self._held[len(self._held) - kept:]
        return said

    def flush(self) -> str:
        """Return what was held back, unless it is part of a thought."""
        rest, self._held = self._held, ''
        return '' if self.thinking else rest


def opens_thought(text: str) -> bool:
    """Return whether what follows a text is part of a thought."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def _started(text: str) -> int:
    """Return how many characters at the end of a text may be the start of a tag."""
    return max(
        (count for tag in (OPEN, CLOSE) for count in range(1, len(tag))
         if text.endswith(tag[:count])), default=0)
