# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What must hold for the questions of every benchmark file, ours or published."""

from __future__ import annotations

from infinipot_ros.evaluation.choice_parsing import LETTERS, option_letter
from infinipot_ros.evaluation.scoring import SCORERS, score


def check_questions(name, videos):
    """Every question can be asked, and its right answer scores 1."""
    assert videos
    for video in videos:
        assert video.video and not video.video.startswith('./')
        assert len({question.id for question in video.questions}) == len(video.questions)
        for question in video.questions:
            assert question.question.strip() and question.kind and question.suite.startswith(name)
            assert question.scorer in SCORERS
            assert question.ask_at_ns is None or question.ask_at_ns >= video.start_ns
            assert score(question, question.answer) == 1.0
            assert score(question, '') == 0.0
            for start, end in question.evidence:
                assert video.start_ns <= start <= end


def check_choices(questions):
    """Letters are those of options, and the prompt shows every option."""
    for question in questions:
        if question.scorer != 'letter':
            continue
        assert question.answer in LETTERS[:len(question.options)]
        assert all(option in question.question for option in question.options)
        right = question.options[LETTERS.index(question.answer)]
        # The right option in its own words counts, unless its words read as a letter.
        if len(right.strip(' .()')) > 1 and question.options.count(right) == 1:
            assert option_letter(right, question.options) == question.answer
