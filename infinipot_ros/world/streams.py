# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Streams of visual tokens with questions behind them: what step 2 of training reads.

The pictures are encoded once; a stream is some grids of one house at random times, of which a
random share of the tokens is kept, as a compressed memory would. Many questions stand behind one
stream, and a mask lets each see the stream and itself only. Positions are those of the runtime:
M-RoPE numbers from stamps, text from the largest number on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from infinipot_ros.vlm.prompt import prefix_ids, question_ids
from infinipot_ros.world.dataset import Shard
from infinipot_ros.world.questions import CLEAR, TRACE, Question, Sight, ask

TOKENS_PER_SECOND = 2
ROWS, COLUMNS = 4, 6
CELLS = ROWS * COLUMNS
CELL_SHOWS = 60
INSIDE_SHARE = 0.6

# Compression keeps what is unlike the rest, mistakes of the eye among it: doubt must be learned.
ABSENT = 0.36
MIX = {'colour': 0.28, 'room': 0.28, 'seen': 0.26, 'current': 0.08, 'describe': 0.10}


@dataclass(frozen=True)
class Encoded:
    """
    A shard without its pictures: tokens of two views of each grid, and the truth about both.

    :param tokens: bfloat16 ``[2, houses, grids, cells, hidden]``; view 0 encodes the grid's two
        frames, view 1 its second frame twice.
    :param things: float32 ``[2, houses, grids, cells, shapes]`` pixels, ``rooms`` likewise.
    """

    tokens: Tensor
    things: npt.NDArray[np.float32]
    rooms: npt.NDArray[np.float32]
    inside: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    colours: npt.NDArray[np.int64]
    homes: npt.NDArray[np.int64]


def encoded(shard: Shard, pair: Tensor, single: Tensor) -> Encoded:
    """Put a shard's truth and its two encodings together."""
    def both(counts: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        return np.stack([counts.mean(2), counts[:, :, 1]]).astype(np.float32)

    seconds = (shard.stamps_ns[:, :, 0] - shard.stamps_ns[:, :1, 0]) / 1e9
    return Encoded(
        torch.stack([pair, single]), both(shard.things), both(shard.rooms),
        shard.inside[:, :, 1], seconds, shard.colours, shard.homes)


@dataclass(frozen=True)
class Plan:
    """
    How streams are drawn.

    :param grids: fewest and most grids of a stream.
    :param keep: smallest and largest share of tokens kept.
    :param questions: questions behind each stream.
    :param tokens: most tokens of a batch, padding included.
    :param canonical: canonical wordings, tour times and nothing but the two-frame view.
    :param repeat: chance that a stream dwells: its grids come two to four times.
    :param long: chance of a stream of whole tours' length, from shards that hold whole tours.
    :param most: most visual tokens of a stream.
    """

    grids: tuple[int, int] = (1, 3)
    keep: tuple[float, float] = (0.25, 1.0)
    questions: int = 8
    tokens: int = 8_000
    canonical: bool = False
    repeat: float = 0.0
    long: float = 0.0
    most: int = 1_400


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


class Speller:
    """Turns prompt pieces into tokens as the runtime does, each distinct piece once."""

    def __init__(self, tokenizer: Any) -> None:
        @lru_cache(maxsize=20_000)
        def prompt(question: str) -> tuple[int, ...]:
            return tuple(question_ids(tokenizer, question))

        @lru_cache(maxsize=1_000)
        def answer(text: str) -> tuple[int, ...]:
            return tuple(tokenizer(f'{text}<|im_end|>').input_ids)

        self.prefix = tuple(prefix_ids(tokenizer))
        self._prompt, self._answer = prompt, answer

    def question(self, question: Question) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the prompt's tokens after the pictures, and the answer's."""
        return self._prompt(question.text), self._answer(question.answer)


def times(
    seconds: npt.NDArray[np.float64], rng: np.random.Generator, canonical: bool,
) -> npt.NDArray[np.int64]:
    """Number the grids on the temporal axis: tour times, even ones, or wildly uneven ones."""
    count = len(seconds)
    style = 0 if canonical else rng.integers(3)
    if style == 0:
        stamps = seconds - seconds[0]
    elif style == 1:
        stamps = np.arange(count) * float(rng.choice([0.5, 1.0, 1.0, 2.0]))
    else:
        gaps = rng.exponential(1, count) ** 2 + 0.02
        gaps[0] = 0
        span = np.exp(rng.uniform(np.log(4), np.log(1000)))
        stamps = np.cumsum(gaps) * span / max(gaps.sum(), 1e-6)
    numbers = np.zeros(count, np.int64)
    for index in range(1, count):
        numbers[index] = max(numbers[index - 1] + 1, round(stamps[index] * TOKENS_PER_SECOND))
    return numbers


def sight(
    part: Encoded, house: int, views: npt.NDArray[np.int64], grids: npt.NDArray[np.int64],
    kept: npt.NDArray[np.bool_],
) -> Sight:
    """Say what a stream shows, given which of its tokens are kept, ``[grids, cells]``."""
    things = part.things[views, house, grids]
    totals = things.sum(1)
    shows = (things >= CELL_SHOWS) & kept[:, :, None]
    seen = (shows.any(1) & (totals >= CLEAR)).any(0)
    unseen = totals.max(0) <= TRACE
    rooms = part.rooms[views[-1], house, grids[-1]].sum(0)
    room = int(part.inside[house, grids[-1]])
    certain = rooms[room] >= INSIDE_SHARE * rooms.sum() and kept[-1].sum() >= 4
    last = np.sort(totals[-1])
    view: int | None = None
    if last[-1] <= TRACE:
        view = -1
    elif last[-1] >= 2 * CLEAR and last[-1] >= 4 * last[-2]:
        shape = int(totals[-1].argmax())
        view = shape if shows[-1, :, shape].any() else None
    return Sight(
        seen, unseen, part.colours[house], part.homes[house], room if certain else None, view)


def draw_questions(
    seen: Sight, count: int, rng: np.random.Generator, canonical: bool,
) -> list[Question]:
    """Draw ``count`` questions of mixed kinds; fewer only if nothing can be asked."""
    kinds = [kind for kind in MIX if not (canonical and kind == 'describe')]
    weights = np.array([MIX[kind] for kind in kinds])
    found: list[Question] = []
    for _ in range(8 * count):
        if len(found) == count:
            break
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        question = ask(
            kind, seen, rng, canonical=canonical, absent=1 / 6 if canonical else ABSENT)
        if question is not None:
            found.append(question)
    return found


def make_batch(
    parts: Sequence[Encoded], speller: Speller, plan: Plan, rng: np.random.Generator,
    houses: Sequence[tuple[int, int]] | None = None,
) -> Batch:
    """
    Draw a batch of streams.

    :param houses: (part, house) of each stream, instead of random ones.
    """
    share = rng.uniform(*plan.keep)
    fewest, largest = plan.grids
    longest = max(part.tokens.shape[2] for part in parts)
    if rng.random() < plan.long and longest > largest:
        fewest, largest = largest, longest
    count = round(np.exp(rng.uniform(np.log(fewest), np.log(largest + 0.49))))
    repeats = int(rng.integers(2, 5)) if rng.random() < plan.repeat else 1
    all_tokens = count * repeats * CELLS
    if all_tokens * share > plan.most:
        share = rng.uniform(0.5, 1.0) * plan.most / all_tokens
    most = max(1, round(all_tokens * share))
    length = len(speller.prefix) + most + 19 * plan.questions
    if houses is None:
        total = max(2, min(64, plan.tokens // length))
        able = [index for index, part in enumerate(parts) if part.tokens.shape[2] >= count]
        houses = [(able[which], int(rng.integers(parts[able[which]].tokens.shape[1])))
                  for which in rng.integers(len(able), size=total)]
    streams = [_draw(parts[part], house, count, repeats, most, plan, rng)
               for part, house in houses]
    return _lay_out(streams, speller)


@dataclass(frozen=True)
class _Stream:
    tokens: Tensor
    positions: npt.NDArray[np.int64]
    last: int
    questions: list[Question]


def _draw(
    part: Encoded, house: int, count: int, repeats: int, most: int, plan: Plan,
    rng: np.random.Generator,
) -> _Stream:
    there = part.tokens.shape[2]
    grids = np.sort(rng.choice(there, min(count, there), replace=False))
    if repeats > 1:
        grids = np.sort(np.concatenate([grids, rng.choice(grids, len(grids) * (repeats - 1))]))
    views = np.zeros(len(grids), np.int64)
    if not plan.canonical:
        views = (rng.random(len(grids)) < 0.25).astype(np.int64)
    # Some grids keep much, some little; the last is always whole, as recent grids are.
    odds = rng.random((len(grids), CELLS)) ** (1 / rng.uniform(0.2, 1, (len(grids), 1)))
    tokens = part.tokens[torch.from_numpy(views), house, torch.from_numpy(grids)]
    if not plan.canonical and len(grids) > 4 and rng.random() < 0.5:
        odds = 0.2 * odds + _novelty(tokens)
    odds[-1] = 9
    kept = np.zeros((len(grids), CELLS), bool)
    kept.reshape(-1)[np.argsort(-odds.reshape(-1))[:max(most, CELLS)]] = True
    seen = sight(part, house, views, grids, kept)
    questions = draw_questions(seen, plan.questions, rng, plan.canonical)
    numbers = times(part.seconds[house, grids], rng, plan.canonical)
    cells = np.arange(CELLS)
    where = np.stack([
        np.broadcast_to(numbers[:, None], kept.shape),
        np.broadcast_to(cells // COLUMNS, kept.shape),
        np.broadcast_to(cells % COLUMNS, kept.shape)])[:, kept]
    last = int(max(numbers[-1], ROWS - 1, COLUMNS - 1))
    return _Stream(tokens[torch.from_numpy(kept)], where, last, questions)


def _novelty(tokens: Tensor) -> npt.NDArray[np.float32]:
    """Say how unlike its place's usual token each token is, 0 to 2, ``[grids, cells]``."""
    directions = torch.nn.functional.normalize(tokens.float(), dim=-1)
    usual = torch.nn.functional.normalize(directions.mean(0), dim=-1)
    novelty: npt.NDArray[np.float32] = (1 - (directions * usual).sum(-1)).numpy()
    return novelty


def _lay_out(streams: list[_Stream], speller: Speller) -> Batch:
    head = len(speller.prefix)
    widest = max(len(stream.tokens) for stream in streams)
    spelt = [[speller.question(question) for question in stream.questions] for stream in streams]
    tail = max(sum(len(prompt) + len(answer) - 1 for prompt, answer in row) for row in spelt)
    size = head + widest + tail
    count = len(streams)
    ids = np.zeros((count, size), np.int64)
    positions = np.zeros((3, count, size), np.int64)
    group = np.full((count, size), -1)
    visual = torch.zeros(count, widest, streams[0].tokens.shape[-1], dtype=torch.bfloat16)
    rows, columns, targets, owner = [], [], [], []
    questions: list[Question] = []
    for row, (stream, prompts) in enumerate(zip(streams, spelt, strict=True)):
        ids[row, :head] = speller.prefix
        positions[:, row, :head] = np.arange(head)
        group[row, :head + len(stream.tokens)] = 0
        positions[:, row, head:head + len(stream.tokens)] = head + stream.positions
        visual[row, :len(stream.tokens)] = stream.tokens
        place = head + widest
        for number, (prompt, answer) in enumerate(prompts):
            text = [*prompt, *answer[:-1]]
            end = place + len(text)
            ids[row, place:end] = text
            positions[:, row, place:end] = head + stream.last + 1 + np.arange(len(text))
            group[row, place:end] = number + 1
            for offset, target in enumerate(answer):
                rows.append(row)
                columns.append(place + len(prompt) - 1 + offset)
                targets.append(target)
                owner.append(len(questions))
            questions.append(stream.questions[number])
            place = end
    groups = torch.from_numpy(group)
    mask = (groups[:, None, :] == 0) | (
        (groups[:, None, :] == groups[:, :, None]) & (groups[:, None, :] > 0))
    mask &= torch.ones(size, size, dtype=torch.bool).tril()
    return Batch(
        torch.from_numpy(ids), visual, head, torch.from_numpy(positions), mask[:, None],
        torch.tensor(rows), torch.tensor(columns), torch.tensor(targets), torch.tensor(owner),
        questions)


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
