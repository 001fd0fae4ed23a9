# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Text around the memory: the chat template, cut where the visual tokens go.

The prefix is encoded once; a question starts behind the vision. Together they form the model's
chat template for one video and one question, or for a dialogue about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infinipot_ros.errors import ConfigurationError, QuestionCode, QuestionError
from infinipot_ros.vlm.thoughts import opens_thought

SYSTEM_PROMPT = 'You are a helpful assistant.'
# What no template writes itself, so that its pieces are found around them.
QUESTIONS, ANSWERS = ('QQ1QQ', 'QQ2QQ'), ('AA1AA',)


@dataclass(frozen=True)
class Template:
    """
    The pieces of a chat template for questions about one video.

    :param prefix: up to the vision; ``before_question``, behind it.
    :param after_question: up to where the answer starts; ``after_answer``, up to the next
        question.
    :param before_answer: from an earlier question to its answer, which may be more than
        ``after_question`` by white space.
    """

    prefix: str
    before_question: str
    after_question: str
    after_answer: str
    before_answer: str


#: Of Qwen2-VL and Qwen2.5-VL.
QWEN2_VL = Template(
    prefix=(f'<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n'
            '<|vision_start|>'),
    before_question='<|vision_end|>',
    after_question='<|im_end|>\n<|im_start|>assistant\n',
    after_answer='<|im_end|>\n<|im_start|>user\n',
    before_answer='<|im_end|>\n<|im_start|>assistant\n')


def read_template(tokenizer: Any, placeholder: str, default: Template | None) -> Template:
    """
    Read the chat template that came with a model.

    :param placeholder: what the template writes for a video.
    :param default: for a tokenizer without a template; None: it must have one.
    :raises ConfigurationError: there is none, or it has no place for a video, a question and an
        answer.
    """
    if not getattr(tokenizer, 'chat_template', None):
        if default is not None:
            return default
        raise ConfigurationError(
            'its tokenizer has no chat template (chat_template.jinja or tokenizer_config.json); '
            'fetch the model again, all files of it')
    first, second = QUESTIONS
    messages = [
        {'role': 'user', 'content': [{'type': 'video'}, {'type': 'text', 'text': first}]},
        {'role': 'assistant', 'content': [{'type': 'text', 'text': ANSWERS[0]}]},
        {'role': 'user', 'content': [{'type': 'text', 'text': second}]}]
    try:
        text: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        once: str = tokenizer.apply_chat_template(
            messages[:1], tokenize=False, add_generation_prompt=True, enable_thinking=False)
        prefix, rest = text.split(placeholder)
        before, rest = rest.split(first)
        before_answer, rest = rest.split(ANSWERS[0])
        after_answer, _ = rest.split(second)
        after_question = once.split(first)[1]
    except Exception as error:
        # A template is a program: it may raise anything.
        raise ConfigurationError(
            f'its chat template has no place for one video ({placeholder}), a question and an '
            f'answer ({type(error).__name__}: {error!s:.80}); fetch the template that the model '
            'was published with') from error
    return Template(prefix, before, after_question, after_answer, before_answer)


class Prompt:
    """
    The tokens around the memory.

    :param mark: a special token that stands where the vision is, so that text before and behind
        it is tokenised as it is with the vision there.
    :param end_tokens: how many tokens end a video behind its last frame. A question begins with
        them, as ``mark``: they are not part of any frame.
    """

    def __init__(self, tokenizer: Any, template: Template = QWEN2_VL,
                 mark: str = '<|video_pad|>', end_tokens: int = 0) -> None:
        self.tokenizer, self.template = tokenizer, template
        self._end_tokens = end_tokens
        self._mark = mark
        self.mark_id: int = tokenizer.convert_tokens_to_ids(mark)
        self._special_tokens = special_tokens(tokenizer)
        self.prefix_ids = self._encode('')[0]

    @property
    def opens_thought(self) -> bool:
        """Whether the template makes the model think before it answers, as some do always."""
        return opens_thought(self.template.after_question)

    def _encode(self, behind: str) -> tuple[list[int], list[int]]:
        """Return the token ids before the vision and behind it."""
        text = f'{self.template.prefix}{self._mark}{behind}'
        start = self.tokenizer.bos_token
        # As processors do: a template that begins with the start token has written it itself.
        added = not (start and text.startswith(start))
        ids: list[int] = self.tokenizer(text, add_special_tokens=added)['input_ids']
        cut = ids.index(self.mark_id)
        return ids[:cut], ids[cut + 1:]

    def question_ids(self, question: str, turns: Sequence[tuple[str, str]] = ()) -> list[int]:
        """
        Return token ids from behind the last frame to where the answer starts.

        Special tokens in what was said are left out: an answer's text must not act as template.

        :param turns: earlier questions and answers, oldest first.
        """
        template = self.template
        said = ''.join(
            f'{self.plain(asked)}{template.before_answer}{self.plain(answer)}'
            f'{template.after_answer}' for asked, answer in turns)
        ids = self._encode(
            f'{template.before_question}{said}{question}{template.after_question}')[1]
        return [self.mark_id] * self._end_tokens + ids

    def plain(self, text: str) -> str:
        """Return a text without special tokens."""
        found = True
        while found:
            found = False
            for token in self._special_tokens:
                if token in text:
                    text, found = text.replace(token, ''), True
        return text


def special_tokens(tokenizer: Any) -> list[str]:
    """Return the tokens that a template is made of, in the order of the alphabet."""
    return sorted({*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()})


def check_question(tokenizer: Any, question: str, max_chars: int) -> str:
    """
    Validate the text of a question.

    A special token of the chat template would let a question's text pose as the system prompt or
    as the camera, so it is refused rather than encoded.

    :return: the question without surrounding white space.
    :raises QuestionError: empty, longer than ``max_chars``, not encodable as UTF-8, or with a
        special token in it.
    """
    question = question.strip()
    if not question:
        raise QuestionError(QuestionCode.EMPTY_QUESTION, 'the question is empty; ask something')
    if len(question) > max_chars:
        raise QuestionError(
            QuestionCode.QUESTION_TOO_LONG,
            f'the question has {len(question)} characters, the limit is {max_chars}; shorten it '
            'or raise query.max_question_chars')
    try:
        question.encode('utf-8')
    except UnicodeEncodeError as error:
        raise QuestionError(
            QuestionCode.INVALID_QUESTION,
            f'the question is not valid UTF-8 text (character {error.start}); send UTF-8',
        ) from error
    for token in special_tokens(tokenizer):
        if token in question:
            raise QuestionError(
                QuestionCode.INVALID_QUESTION,
                f'the question contains the special token {token!r}; leave it out')
    return question
