# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many questions a program may ask, so that those of people and robots come through."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from infinipot_ros.errors import BusyError, ConfigurationError

MINUTE_S = 60.0


class QuestionLimit:
    """
    At most so many questions in any minute; may be used from several threads.

    :param per_minute: the limit.
    :param clock: monotonic, in seconds.
    :raises ConfigurationError: a limit that allows nothing.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute < 1:
            raise ConfigurationError(
                f'questions a minute are {per_minute}, they must be at least 1')
        self.per_minute = per_minute
        self._clock = clock
        self._asked: deque[float] = deque()
        self._lock = threading.Lock()

    def take(self) -> None:
        """
        Count one question.

        :raises BusyError: the limit is reached, and when to ask again; it is not counted.
        """
        with self._lock:
            now = self._clock()
            while self._asked and now - self._asked[0] >= MINUTE_S:
                self._asked.popleft()
            if len(self._asked) >= self.per_minute:
                raise BusyError(
                    f'{self.per_minute} questions were asked in the last minute, which is the '
                    f'limit (--questions-per-minute); ask again in '
                    f'{MINUTE_S - (now - self._asked[0]):.0f} s')
            self._asked.append(now)
