# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Picking tokens and streaming text."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_models import make_sentencepiece_tokenizer, make_tokenizer

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.vlm.decoding import Sampling, TextStream, sample_token
from infinipot_ros.vlm.thoughts import CLOSE, OPEN

TOKENIZER = make_tokenizer()


def without_thoughts(text):
    """Their tags are no text of an answer; ``test_thoughts.py`` has them."""
    return OPEN not in text and CLOSE not in text


@given(st.text(max_size=40).filter(without_thoughts))
def test_streamed_pieces_make_the_text_and_never_split_a_character(text):
    stream = TextStream(TOKENIZER)
    pieces = [stream.push(token) for token in TOKENIZER(text)['input_ids']]
    assert ''.join(pieces) + stream.flush() == TOKENIZER.decode(
        TOKENIZER(text)['input_ids'], skip_special_tokens=True)
    if '\ufffd' not in text:
        assert not any('\ufffd' in piece for piece in pieces)


@given(
    st.text(st.characters(codec='utf-8', exclude_characters='\u2581'), max_size=40)
    .filter(without_thoughts))
@example(' a')
@example('  <s>  a </s> ')
def test_pieces_that_begin_with_a_space_keep_it(text):
    tokenizer = make_sentencepiece_tokenizer()
    ids = tokenizer(text)['input_ids']
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in ids]
    assert ''.join(pieces) + stream.flush() == tokenizer.decode(
        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_half_a_character_comes_with_the_flush():
    stream = TextStream(TOKENIZER)
    ids = TOKENIZER('ü')['input_ids']
    assert len(ids) == 2
    assert stream.push(ids[0]) == ''
    assert stream.flush() == '\ufffd'
    assert stream.flush() == ''


def test_greedy_takes_the_best():
    scores = torch.tensor([0.1, 3.0, 2.9])
    assert sample_token(scores, Sampling(), torch.Generator()) == 1


def test_drawing_is_repeatable_and_keeps_to_top_p():
    scores = torch.tensor([0.0, 5.0, 4.9, -9.0])
    drawn = [
        sample_token(
            scores, Sampling(temperature=1.0, top_p=0.9), torch.Generator().manual_seed(seed)
        )
        for seed in range(60)
    ]
    assert set(drawn) == {1, 2}
    again = [
        sample_token(
            scores, Sampling(temperature=1.0, top_p=0.9), torch.Generator().manual_seed(seed)
        )
        for seed in range(60)
    ]
    assert drawn == again
    tiny = Sampling(temperature=1.0, top_p=1e-9)
    assert sample_token(scores, tiny, torch.Generator().manual_seed(1)) == 1


@pytest.mark.parametrize('bad', [{'temperature': -1.0}, {'top_p': 0.0}, {'top_p': 1.1}])
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ConfigurationError):
        Sampling(**bad)
