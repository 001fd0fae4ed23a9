# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
RVS-Ego and RVS-Movie: open questions during an hour of video.

A question is asked when the part it is about ends. Where an entry names a clip, only that part of
the video is shown; all times count from the video's start. Scored by token F1, or by a judge as
in the benchmark. The kind is the type of answer; the suite is the file's name, so that Ego and
Movie stay apart.

Sources: Becomebright/ReKV, video_qa/rekv_stream_vqa.py; lwx270901/ProtoKV,
qwen_inference_online.py. The annotations themselves are on Hugging Face only (Becomebright/RVS).
"""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.benchmarks.entries import Entry, Text, questioned, read_entries
from infinipot_ros.evaluation.question import Question, QuestionedVideo
from infinipot_ros.evaluation.time_parsing import parse_time


class RvsQuestion(Entry):
    """A question and the part it is about, seconds."""

    question: Text
    answer: Text
    answer_type: str = ''
    start_time: float
    end_time: float
    duration: float | None = None


class RvsEntry(Entry):
    """A video, perhaps a clip of it (seconds), and its questions."""

    video_id: str
    video_path: str
    conversations: list[RvsQuestion]
    duration: float | None = None
    clip_start_time: float | None = None
    clip_end_time: float | None = None


def read(path: Path) -> list[QuestionedVideo]:
    """
    Read an annotation file of RVS.

    :raises SourceError: the file is not that; the message names the entry.
    """
    videos = []
    for number, (here, entry) in enumerate(read_entries(path, RvsEntry), 1):
        start = parse_time(entry.clip_start_time or 0.0, here)
        end = None if entry.clip_end_time is None else parse_time(entry.clip_end_time, here)
        asked = [_question(f'{number}.{index}', each, here)
                 for index, each in enumerate(entry.conversations)]
        if any((question.ask_at_ns or 0) < start for question in asked):
            raise SourceError(f'{here}: a question is asked before the clip starts')
        videos.append(questioned(path, entry.video_path, asked, start_ns=start, end_ns=end))
    return videos


def _question(name: str, asked: RvsQuestion, here: str) -> Question:
    start, end = parse_time(asked.start_time, here), parse_time(asked.end_time, here)
    if end < start:
        raise SourceError(
            f'{here}: a question is about a part that ends at {asked.end_time:g} s, before it '
            f'starts at {asked.start_time:g} s')
    return Question(
        id=name, question=asked.question, answer=asked.answer,
        kind=asked.answer_type or 'open', ask_at_ns=end, clock='start',
        evidence=[(start, end)], scorer='f1')
