# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question as tokens: the newest of its dialogue, then itself."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_tokenizer

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.visual_memory.generation import Deadline, encode_question, stream_text
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.sessions import Turn
from infinipot_ros.vlm.decoding import TextStream
from infinipot_ros.vlm.prompt import Prompt

PROMPT = Prompt(make_tokenizer())
QUESTION = 'And now?'


def encode(turns, session_tokens, question=QUESTION, new_tokens=4):
    settings = MemoryConfig(
        '', max_question_chars=40, max_new_tokens=8, session_tokens=session_tokens)
    return encode_question(PROMPT, settings, question, turns, new_tokens)


@given(
    lengths=st.lists(st.integers(0, 30), max_size=6), session_tokens=st.integers(0, 200))
def test_the_newest_turns_that_fit_go_before_the_question(lengths, session_tokens):
    turns = [Turn('why ' * length, f'{index}') for index, length in enumerate(lengths)]
    tails = [
        PROMPT.question_ids(QUESTION, [(turn.question, turn.answer) for turn in turns[first:]])
        for first in range(len(turns) + 1)]
    most = len(PROMPT.question_ids(QUESTION)) + session_tokens
    assert encode(turns, session_tokens) == next(tail for tail in tails if len(tail) <= most)


def test_a_dialogue_takes_no_room_from_a_question():
    turns = [Turn('x' * 90, 'y')]
    assert len(encode(turns, 200, 'z' * 40)) > len(encode(turns, 0, 'z' * 40))
    with pytest.raises(QuestionError, match='shorten it or raise') as caught:
        encode([], 200, 'ü' * 40)
    assert caught.value.code is QuestionCode.QUESTION_TOO_LONG


@pytest.mark.parametrize(('written', 'thinking', 'text', 'noted'), [
    ('In the hall.', False, 'In the hall.', False),
    ('<think>The hall?</think>\n\nThe kitchen.', False, 'The kitchen.', False),
    ('The hall? No.</think>\n\nThe kitchen.', True, 'The kitchen.', False),
    ('The kitchen. <think>Or', False, 'The kitchen.', False),
    ('<think>The hall, or', False, '', True),
    ('The hall, or', True, '', True),
    ('', False, '', False),
])
def test_thoughts_are_neither_said_nor_answered(written, thinking, text, noted):
    pieces = []
    tokens = PROMPT.tokenizer(written)['input_ids']
    generation = stream_text(
        iter(tokens), TextStream(PROMPT.tokenizer, thinking=thinking),
        Deadline(time.perf_counter()), None, pieces.append)
    assert generation.text == ''.join(pieces).strip() == text
    assert generation.tokens == len(tokens) == len(pieces) - 1
    assert ('still thinking' in generation.note) == noted
