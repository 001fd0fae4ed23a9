# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The errors of the package: one small hierarchy every room may import.

A message names the value, the limit and the way out. A ``FrameError`` carries the word its
counter in ``~/status`` goes by, a ``QuestionError`` the code ``~/query`` answers with.
"""

from __future__ import annotations

from enum import IntEnum


class InfinipotError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigurationError(InfinipotError):
    """A setting, a model or a device that cannot work; raised before anything is observed."""


class MemoryFullError(InfinipotError):
    """An append would pass the declared budget; nothing was written."""


class StorageError(InfinipotError):
    """A saved memory that cannot be written, read or taken in; the memory is as it was."""


class MemoryInUseError(StorageError):
    """A file that another memory is kept in, as long as that lives; nothing was done."""


class BusyError(InfinipotError):
    """Too many requests wait already; nothing was done."""


class SourceError(InfinipotError):
    """A bag, a video or a folder that cannot be read as a stream of frames."""


class NodeError(InfinipotError):
    """A node that a client talks to did not start, answer or end as it should."""


class FrameError(InfinipotError):
    """
    A frame that is not remembered; the memory is as it was.

    :param reason: one snake_case word, the key it is counted under.
    :param message: what was wrong, the limit and the way out.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class QuestionCode(IntEnum):
    """Why a question was not answered: the ``error_code`` of ``srv/Query`` and ``action/Ask``."""

    NONE = 0
    EMPTY_QUESTION = 1
    QUESTION_TOO_LONG = 2
    INVALID_QUESTION = 3
    NOTHING_OBSERVED = 4
    INACTIVE = 5
    TIMEOUT = 6
    BUSY = 7
    INTERNAL = 8
    UNKNOWN_SESSION = 9
    INVALID_SCOPE = 10
    NOTHING_IN_SCOPE = 11
    UNKNOWN_CAMERA = 12
    CANCELED = 13
    TOO_MANY_SESSIONS = 14


class QuestionError(InfinipotError):
    """
    A question that gets no answer; the memory is as it was.

    :param code: the machine-readable reason.
    :param message: what was wrong, the limit and the way out.
    """

    def __init__(self, code: QuestionCode, message: str) -> None:
        super().__init__(message)
        self.code = code
