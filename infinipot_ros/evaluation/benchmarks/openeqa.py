# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
OpenEQA: open questions about an indoor space that the camera walked through.

Asked after the last frame. An episode is a folder of frames or a video of that name. The kind is
the category. Scored by token F1 against the answer and its extra answers; with a judge by
LLM-Match, the benchmark's own measure (``judge``).

Source: facebookresearch/open-eqa (MIT), data/open-eqa-v0.json and assets/open-eqa-demo-data.json;
prompt prompts/gpt4v.txt.
"""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.evaluation.benchmarks.entries import Entry, Text, by_video, read_entries
from infinipot_ros.evaluation.question import Question, QuestionedVideo

# The benchmark's words.
PROMPT = """You are an intelligent question answering agent. I will ask you questions about an \
indoor space and you must provide an answer.
You will be shown a set of images that have been collected from a single location.
Given a user query, you must output `text` to answer to the question asked by the user.
User Query: {question}"""


class OpenEqaEntry(Entry):
    """A question about an episode."""

    question: Text
    answer: Text
    category: str
    question_id: str
    episode_history: str
    extra_answers: tuple[str, ...] = ()


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read OpenEQA's annotation file.

    :raises SourceError: the file is not that; the message names the entry.
    """
    return by_video(path, [(entry.episode_history, Question(
        id=entry.question_id, question=PROMPT.format(question=entry.question),
        answer=entry.answer, kind=entry.category, scorer='f1', accepted=entry.extra_answers,
        suite='openeqa')) for _, entry in read_entries(path, OpenEqaEntry)])
