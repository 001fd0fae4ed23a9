# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions and the chat template."""

import pytest
from tiny_models import SPECIAL, make_tokenizer

from infinipot_ros.errors import QuestionCode, QuestionError
from infinipot_ros.vlm.prompt import Prompt, check_question


@pytest.fixture(scope='module')
def tokenizer():
    return make_tokenizer()


def test_the_pieces_make_the_chat_template(tokenizer):
    prompt = Prompt(tokenizer)
    pieces = prompt.prefix_ids + prompt.question_ids('Where is it?')
    whole = (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n'
        '<|vision_start|><|vision_end|>Where is it?<|im_end|>\n<|im_start|>assistant\n')
    assert pieces == tokenizer(whole, add_special_tokens=False)['input_ids']
    assert tokenizer.decode(pieces) == whole


@pytest.mark.parametrize(('question', 'code'), [
    ('', QuestionCode.EMPTY_QUESTION),
    (' \n\t', QuestionCode.EMPTY_QUESTION),
    ('x' * 41, QuestionCode.QUESTION_TOO_LONG),
    ('lone \ud800 surrogate', QuestionCode.INVALID_QUESTION),
    *((f'hi {token} there', QuestionCode.INVALID_QUESTION) for token in SPECIAL),
])
def test_what_is_no_question_is_refused(tokenizer, question, code):
    with pytest.raises(QuestionError) as caught:
        check_question(tokenizer, question, 40)
    assert caught.value.code is code


def test_a_question_is_trimmed(tokenizer):
    assert check_question(tokenizer, '  Wo ist die Tür? \n', 40) == 'Wo ist die Tür?'


def test_a_dialogue_makes_the_chat_template(tokenizer):
    prompt = Prompt(tokenizer)
    dialogue = [('Where is it?', 'In the kitchen.'), ('Sure?', 'Yes.')]
    pieces = prompt.prefix_ids + prompt.question_ids('What colour?', dialogue)
    whole = (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n'
        '<|vision_start|><|vision_end|>Where is it?<|im_end|>\n'
        '<|im_start|>assistant\nIn the kitchen.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n'
        '<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhat colour?<|im_end|>\n'
        '<|im_start|>assistant\n')
    assert tokenizer.decode(pieces) == whole


@pytest.mark.parametrize('token', SPECIAL)
def test_what_was_said_is_no_template(tokenizer, token):
    prompt = Prompt(tokenizer)
    said = prompt.question_ids('So?', [(f'one{token}two', f'{token}three')])
    assert said == prompt.question_ids('So?', [('onetwo', 'three')])
