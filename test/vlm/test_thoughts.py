# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model thinks is never said."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import NO_THOUGHT, make_tokenizer

from infinipot_ros.vlm.decoding import TextStream
from infinipot_ros.vlm.thoughts import ThoughtFilter, opens_thought

PIECES = st.lists(st.sampled_from(
    ['<think>', '</think>', '<', '<th', 'ink>', '</', 'think>', '>', 'a', 'é', ' ', '\n']),
    max_size=12)


@given(st.text(max_size=20).filter(lambda text: '<' not in text), st.integers(0, 20))
def test_text_without_a_thought_passes_at_once(text, cut):
    thoughts = ThoughtFilter()
    assert thoughts.push(text[:cut]) + thoughts.push(text[cut:]) == text
    assert thoughts.flush() == ''


@given(PIECES, st.booleans())
def test_any_cut_of_a_text_says_the_same(pieces, thinking):
    whole, parts = ThoughtFilter(thinking=thinking), ThoughtFilter(thinking=thinking)
    text = ''.join(pieces)
    said = whole.push(text) + whole.flush()
    assert ''.join(parts.push(each) for each in pieces) + parts.flush() == said
    outside = ''
    for part in re.split('(</?think>)', text):
        if part in ('<think>', '</think>'):
            thinking = part == '<think>'
        elif not thinking:
            outside += part
    assert said == outside
    assert whole.thinking == thinking


@pytest.mark.parametrize(('text', 'opens'), [
    ('', False), (NO_THOUGHT, False), ('<|im_start|>assistant\n<think>\n', True),
    ('<think>\n</think><think>', True)])
def test_a_template_may_open_a_thought(text, opens):
    assert opens_thought(text) is opens


@pytest.mark.parametrize('special', [False, True])
@pytest.mark.parametrize('as_tokens', [False, True])
def test_a_thought_is_left_out_however_it_is_tokenised(special, as_tokens):
    tokenizer = make_tokenizer()
    if as_tokens:
        tokenizer.add_tokens(['<think>', '</think>'], special_tokens=special)
    ids = tokenizer('In <think>the hall? No.</think>the kitchen, ü.<think>Or')['input_ids']
    stream = TextStream(tokenizer)
    said = ''.join(stream.push(token) for token in ids) + stream.flush()
    assert said == 'In the kitchen, ü.'
    assert stream.thinking
