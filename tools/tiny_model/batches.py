# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
How streams and their questions become one forward pass of step 2 of training.

Many dialogues stand behind one stream, and a mask lets each see the stream and itself only.
Prompts are spelt and numbered as at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infinipot_ros.vlm.prompt import Prompt
from tools.tiny_model.dialogues import Dialogue
from tools.tiny_model.questions import Question


@dataclass(frozen=True)
class Stream:
    """
    The kept visual tokens of one stream and the dialogues behind it.

    :param tokens: ``[n, hidden]``; ``positions`` int64 ``[3, n]``, from the prefix's end on.
    :param last: the largest position, over all axes and grids.
    """

    tokens: Tensor
    positions: npt.NDArray[np.int64]
    last: int
    dialogues: list[Dialogue]


@dataclass(frozen=True)
class Batch:
    """
    One forward pass: ``[B]`` streams of ``[S]`` tokens.

    :param ids: int64 ``[B, S]``; 0 where a visual token stands.
    :param visual: bfloat16 ``[B, V, hidden]``, put at ``start`` to ``start + V``.
    :param positions: int64 ``[3, B, S]``.
    :param mask: bool ``[B, 1, S, S]``, true where attended.
    :param rows, columns, targets: int64 ``[answers]``: where a token of an answer is predicted,
        and which; ``question`` numbers the question each belongs to.
    :param follows: for each question whether another turn came before it.
    """

    ids: Tensor
    visual: Tensor
    start: int
    positions: Tensor
    mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    question: Tensor
    questions: list[Question]
    follows: list[bool]


class Speller:
    """Turns prompt pieces into tokens as the runtime does, each distinct piece once."""

    def __init__(self, tokenizer: Any) -> None:
        pieces = Prompt(tokenizer)

        @lru_cache(maxsize=20_000)
        def prompt(question: str) -> tuple[int, ...]:
            return tuple(pieces.question_ids(question))

        @lru_cache(maxsize=1_000)
        def answer(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(f'{text}<|im_end|>').input_ids)

        self.prefix = tuple(pieces.prefix_ids)
        self._prompt, self._answer = prompt, answer

        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(text, add_special_tokens=False).input_ids)

        # An answer ends as a turn ends, and what comes before the first question stands once.
        self._between = encode(pieces.template.after_answer)[1:]
        self._before = len(encode(pieces.template.before_question))

    def dialogue(self, turns: Dialogue) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Give each turn's tokens between the pictures or the last answer, and its answer's."""
        return [
            (self._between + self._prompt(turn.text)[self._before:] if number
             else self._prompt(turn.text), self._answer(turn.answer))
            for number, turn in enumerate(turns)]


def lay_out(streams: list[Stream], speller: Speller) -> Batch:
    """Put streams and their questions side by side, padded, with masks and targets."""
    head = len(speller.prefix)
    widest = max(len(stream.tokens) for stream in streams)
    spelt = [[speller.dialogue(turns) for turns in stream.dialogues] for stream in streams]
    # The very last token of a dialogue is predicted, never read.
    tail = max(sum(len(text) for turns in row for turn in turns for text in turn) - len(row)
               for row in spelt)
    size = head + widest + tail
    count = len(streams)
    ids = np.zeros((count, size), np.int64)
    positions = np.zeros((3, count, size), np.int64)
    group = np.full((count, size), -1)
    visual = torch.zeros(count, widest, streams[0].tokens.shape[-1], dtype=torch.bfloat16)
    rows, columns, targets, owner = [], [], [], []
    questions: list[Question] = []
    follows: list[bool] = []
    for row, (stream, dialogues) in enumerate(zip(streams, spelt, strict=True)):
        ids[row, :head] = speller.prefix
        positions[:, row, :head] = np.arange(head)
        group[row, :head + len(stream.tokens)] = 0
        positions[:, row, head:head + len(stream.tokens)] = head + stream.positions
        visual[row, :len(stream.tokens)] = stream.tokens
        place = head + widest
        for number, turns in enumerate(dialogues):
            text: list[int] = []
            for turn, (prompt, answer) in enumerate(turns):
                text += prompt
                for offset, target in enumerate(answer):
                    rows.append(row)
                    columns.append(place + len(text) - 1 + offset)
                    targets.append(target)
                    owner.append(len(questions))
                text += answer
                questions.append(stream.dialogues[number][turn])
                follows.append(turn > 0)
            text.pop()
            end = place + len(text)
            ids[row, place:end] = text
            positions[:, row, place:end] = head + stream.last + 1 + np.arange(len(text))
            group[row, place:end] = number + 1
            place = end
    groups = torch.from_numpy(group)
    mask = (groups[:, None, :] == 0) | (
        (groups[:, None, :] == groups[:, :, None]) & (groups[:, None, :] > 0))
    mask &= torch.ones(size, size, dtype=torch.bool).tril()
    return Batch(
        torch.from_numpy(ids), visual, head, torch.from_numpy(positions), mask[:, None],
        torch.tensor(rows), torch.tensor(columns), torch.tensor(targets), torch.tensor(owner),
        questions, follows)


def answer_logits(model: Any, batch: Batch) -> Tensor:
    """Run the language model over a batch; return the scores ``[answers, vocabulary]``."""
    device = next(model.parameters()).device
    embedded = model.get_input_embeddings()(batch.ids.to(device))
    visual = batch.visual.to(device, embedded.dtype)
    stop = batch.start + visual.shape[1]
    embedded = torch.cat([embedded[:, :batch.start], visual, embedded[:, stop:]], 1)
    hidden = model.model.language_model(
        inputs_embeds=embedded, position_ids=batch.positions.to(device),
        attention_mask={'full_attention': batch.mask.to(device)}, use_cache=False,
    ).last_hidden_state
    scores: Tensor = model.lm_head(hidden[batch.rows.to(device), batch.columns.to(device)])
    return scores.float()
