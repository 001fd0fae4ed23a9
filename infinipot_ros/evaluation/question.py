# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A question about a recording and its right answer, whatever file it came from.

Every file of questions, ours or a public benchmark's, is read into these classes; asking and
scoring use nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Clock = Literal['stamp', 'start']
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Question:
    """
    One question.

    :param id: unique among the questions about one recording.
    :param question: the whole text for the model, options and instructions included.
    :param answer: the right answer: a text, or the letter of an option.
    :param kind: what it asks about, for grouping.
    :param ask_at_ns: when to ask, in nanoseconds: after the last frame that is not later; None:
        after the last frame of all.
    :param clock: what ``ask_at_ns`` and ``evidence`` count from: ``stamp``, the epoch of the
        frames' stamps; ``start``, the recording's first frame.
    :param delay: frames for which the answer had to be remembered, as the file counts them; None
        where it was never in view, or the time is unknown.
    :param evidence: closed intervals of time, ns, in which the answer is in view.
    :param tokens: int64 ``[n, 3]``, grid number from the stream's start, row and column of the
        visual tokens that show the evidence; None where unknown.
    :param scorer: how an answer is scored, a name in ``scoring.SCORERS``.
    :param accepted: further right answers.
    :param options: the choices, in order, without letters; empty for open questions.
    :param suite: the group it is counted in besides its kind, ``ovobench backward`` for example;
        empty: the name of the file it came from.
    """

    id: str
    question: str
    answer: str
    kind: str
    ask_at_ns: int | None = None
    clock: Clock = 'stamp'
    delay: int | None = None
    evidence: Sequence[Sequence[int]] = ()
    tokens: Tokens | None = None
    scorer: str = 'exact'
    accepted: Sequence[str] = ()
    options: Sequence[str] = ()
    suite: str = ''


@dataclass(frozen=True, eq=False)
class QuestionedVideo:
    """
    The questions of a file about one of its videos.

    :param video: its name in the file: a path below the folder of videos.
    :param start_ns: start of the part that is shown, from the video's start; ``end_ns`` its end,
        None for the end of the video.
    """

    video: str
    questions: Sequence[Question]
    start_ns: int = 0
    end_ns: int | None = None
