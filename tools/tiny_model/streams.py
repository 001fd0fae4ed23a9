# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Streams of visual tokens with questions behind them: what step 2 of training reads.

The pictures are encoded once; a stream is some grids of one house at random times, of which a
random share of the tokens is kept, as a compressed memory would. Positions are those of the
runtime: M-RoPE numbers from stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tools.tiny_model.batches import Batch, Speller, Stream, lay_out
from tools.tiny_model.dataset import Shard
from tools.tiny_model.dialogues import Dialogue, draw_dialogue
from tools.tiny_model.questions import CLEAR, TRACE, Question, Sight, ask

TOKENS_PER_SECOND = 2
ROWS, COLUMNS = 4, 6
CELLS = ROWS * COLUMNS
CELL_SHOWS = 60
LEAST = 700
INSIDE_SHARE = 0.6
# Roughly what a question and its answer take.
QUESTION_TOKENS = 21

# Compression keeps what is unlike the rest, mistakes of the eye among it: doubt must be learned.
ABSENT = 0.36
MIX = {
    'colour': 0.16, 'room': 0.16, 'seen': 0.19, 'count': 0.08, 'order': 0.19, 'list': 0.14,
    'current': 0.04, 'describe': 0.04}


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
    :param goes_on: chance that a question is followed by another of the same dialogue.
    :param repeat: chance that a stream dwells: its grids come two to four times.
    :param long: chance of a stream of whole tours' length, from shards that hold whole tours.
    :param most: most visual tokens of a stream; a long one has any number from ``LEAST`` to it.
    """

    grids: tuple[int, int] = (1, 3)
    keep: tuple[float, float] = (0.25, 1.0)
    questions: int = 8
    tokens: int = 8_000
    canonical: bool = False
    repeat: float = 0.0
    long: float = 0.0
    most: int = 1_400
    goes_on: float = 0.0


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
        span = np.exp(rng.uniform(np.log(4), np.log(2000)))
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
    clear = shows.any(1) & (totals >= CLEAR)
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
        clear.any(0), unseen, part.colours[house], part.homes[house], room if certain else None,
        view, (totals > TRACE).argmax(0), clear.argmax(0))


def draw_dialogues(
    seen: Sight, count: int, rng: np.random.Generator, canonical: bool, goes_on: float = 0.0,
) -> list[Dialogue]:
    """
    Draw ``count`` questions of mixed kinds, or a few more; fewer only if nothing can be asked.

    :param goes_on: chance that one is followed by another of the same dialogue.
    """
    kinds = [kind for kind in MIX if not (canonical and kind in ('list', 'describe'))]
    weights = np.array([MIX[kind] for kind in kinds])

    def draw() -> Question | None:
        kind = str(rng.choice(kinds, p=weights / weights.sum()))
        return ask(kind, seen, rng, canonical=canonical, absent=1 / 6 if canonical else ABSENT)

    found: list[Dialogue] = []
    for _ in range(8 * count):
        if sum(map(len, found)) >= count:
            break
        first = draw()
        if first is not None:
            found.append(draw_dialogue(
                first, draw, seen, rng, goes_on=goes_on, canonical=canonical))
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
    most = max(1, round(all_tokens * share))
    if most > plan.most:
        most = round(np.exp(rng.uniform(np.log(min(LEAST, plan.most)), np.log(plan.most))))
    length = len(speller.prefix) + most + QUESTION_TOKENS * plan.questions
    if houses is None:
        total = max(2, min(64, plan.tokens // length))
        able = [index for index, part in enumerate(parts) if part.tokens.shape[2] >= count]
        houses = [(able[which], int(rng.integers(parts[able[which]].tokens.shape[1])))
                  for which in rng.integers(len(able), size=total)]
    streams = [_draw(parts[part], house, count, repeats, most, plan, rng)
               for part, house in houses]
    return lay_out(streams, speller)


def _draw(
    part: Encoded, house: int, count: int, repeats: int, most: int, plan: Plan,
    rng: np.random.Generator,
) -> Stream:
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
    dialogues = draw_dialogues(seen, plan.questions, rng, plan.canonical, plan.goes_on)
    numbers = times(part.seconds[house, grids], rng, plan.canonical)
    cells = np.arange(CELLS)
    where = np.stack([
        np.broadcast_to(numbers[:, None], kept.shape),
        np.broadcast_to(cells // COLUMNS, kept.shape),
        np.broadcast_to(cells % COLUMNS, kept.shape)])[:, kept]
    last = int(max(numbers[-1], ROWS - 1, COLUMNS - 1))
    return Stream(tokens[torch.from_numpy(kept)], where, last, dialogues)


def _novelty(tokens: Tensor) -> npt.NDArray[np.float32]:
    """Say how unlike its place's usual token each token is, 0 to 2, ``[grids, cells]``."""
    directions = torch.nn.functional.normalize(tokens.float(), dim=-1)
    usual = torch.nn.functional.normalize(directions.mean(0), dim=-1)
    novelty: npt.NDArray[np.float32] = (1 - (directions * usual).sum(-1)).numpy()
    return novelty
