# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Training the bundled model: first its eye on labels, then its language model on questions.

Both steps run on two CPU cores or on a GPU, save their state as they go and resume from it, and
measure themselves on houses of the validation split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tools.tiny_model.batches import Batch, Speller, answer_logits
from tools.tiny_model.dataset import Shard
from tools.tiny_model.eye import eye_accuracy, eye_batch, eye_loss, frames_to_patches
from tools.tiny_model.network import encode_grids
from tools.tiny_model.streams import CELLS, Encoded, Plan, make_batch
from tools.tiny_model.training_run import Run, descend, learning_rate, set_rate

Made = TypeVar('Made')
# Chance that a question is followed by another of its dialogue, once streams are long.
GOES_ON = 0.45


def ahead(make: Callable[[int], Made], start: int, stop: int) -> Iterator[Made]:
    """Yield ``make(start)`` to ``make(stop - 1)``, the next two being made in a thread."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, number) for number in range(start, min(start + 2, stop))]
        for number in range(start, stop):
            done = waiting.pop(0).result()
            if number + 2 < stop:
                waiting.append(pool.submit(make, number + 2))
            yield done


def train_eye(
    model: Any,
    words: Tensor,
    shards: Sequence[Shard],
    validation: Sequence[Shard],
    run: Run,
    *,
    steps: int = 3000,
    batch: int = 64,
    peak: float = 2e-3,
    measure_every: int = 250,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """
    Step 1: teach the vision tower to name shape, colour and room of each of its tokens.

    :param words: the vectors it is to name them by, ``[words, hidden]``.
    :param on_step: called after each step with the steps done and the loss.
    """
    device = next(model.parameters()).device
    visual = model.model.visual
    words = words.to(device)
    optimizer = torch.optim.AdamW(
        visual.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.02)
    done = run.resume('eye', visual, optimizer)

    def make(step: int) -> Any:
        rng = np.random.default_rng([1, step])
        shard = shards[int(rng.integers(len(shards)))]
        houses, grids, *_ = shard.frames.shape
        return eye_batch(
            shard, rng.integers(0, houses, batch), rng.integers(0, grids, batch),
            torch.Generator().manual_seed(step))

    for step, (patches, labels) in enumerate(ahead(make, done, steps), start=done):
        set_rate(optimizer, learning_rate(step, steps, peak, max(1, min(150, steps // 10))))
        with torch.autocast(device.type, torch.bfloat16):
            tokens = encode_grids(visual, patches.to(device))
        loss = eye_loss(tokens, words, type(labels)(*(
            values.to(device) for values in (labels.shape, labels.colour, labels.room))))
        descend(loss, visual, optimizer)
        on_step(step + 1, float(loss.detach()))
        if (step + 1) % measure_every == 0 or step + 1 == steps:
            run.note(stage='eye', step=step + 1, loss=round(float(loss.detach()), 4),
                     **measure_eye(model, words, validation))
            run.save('eye', step + 1, visual, optimizer)


@torch.inference_mode()
def measure_eye(model: Any, words: Tensor, shards: Sequence[Shard]) -> dict[str, float]:
    """Share of right tokens on given houses: shape, colour and home of objects, empties, rooms."""
    device = next(model.parameters()).device
    right: dict[str, int] = {}
    judged: dict[str, int] = {}
    for shard in shards:
        for house in range(len(shard.frames)):
            grids = np.arange(shard.frames.shape[1])
            patches, labels = eye_batch(shard, np.full_like(grids, house), grids, None)
            tokens = encode_grids(model.model.visual, patches.to(device)).cpu()
            for name, (good, all_) in eye_accuracy(tokens, words.cpu(), labels).items():
                right[name] = right.get(name, 0) + good
                judged[name] = judged.get(name, 0) + all_
    return {name: round(right[name] / max(1, judged[name]), 4) for name in right}


@torch.inference_mode()
def encode_shard(model: Any, shard: Shard, *, single: bool = False) -> Tensor:
    """
    Encode all pictures of a shard.

    :param single: encode each grid's second frame twice instead of its two frames.
    :return: bfloat16 ``[houses, grids, cells, hidden]``, on the CPU.
    """
    device = next(model.parameters()).device
    houses = []
    for house in range(len(shard.frames)):
        frames = torch.from_numpy(np.array(shard.frames[house]))
        if single:
            frames = frames[:, 1:].expand(-1, 2, -1, -1, -1)
        with torch.autocast(device.type, torch.bfloat16):
            tokens = encode_grids(model.model.visual, frames_to_patches(frames).to(device))
        houses.append(tokens.to(torch.bfloat16).cpu())
    return torch.stack(houses)


def curriculum(share: float) -> Plan:
    """
    Say how streams are drawn after a share of the steps: first a grid or three, then whole tours.

    What compression leaves is sparse, so from the middle on most tokens may be missing.
    """
    if share < 0.1:
        return Plan((1, 3), (0.5, 1.0), 8)
    if share < 0.2:
        return Plan((1, 8), (0.3, 1.0), 8)
    if share < 0.35:
        return Plan((1, 20), (0.2, 1.0), 10)
    if share < 0.6:
        return Plan((2, 28), (0.12, 1.0), 12, repeat=0.3, long=0.2, goes_on=GOES_ON)
    return Plan(
        (2, 28), (0.12, 1.0), 12, repeat=0.2, long=0.5, tokens=10_000, most=5_000, goes_on=GOES_ON)


def later_curriculum(share: float) -> Plan:
    """Say the same for a model that has learned before: some short streams, then long ones."""
    if share < 0.25:
        return Plan(
            (1, 12), (0.3, 1.0), 12, repeat=0.1, long=0.15, most=3_000, goes_on=GOES_ON)
    return curriculum(0.35 + 0.65 * share)


def train_reader(
    model: Any,
    tokenizer: Any,
    parts: Sequence[Encoded],
    validation: Sequence[Encoded],
    run: Run,
    *,
    steps: int = 6000,
    peak: float = 1.5e-3,
    measure_every: int = 250,
    plan_at: Callable[[float], Plan] = curriculum,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    on_measure: Callable[[int, dict[str, float]], None] = lambda step, figures: None,
) -> None:
    """Step 2: teach the language model to answer questions about streams of frozen tokens."""
    device = next(model.parameters()).device
    speller = Speller(tokenizer)
    language = model.model.language_model
    matrices = [p for p in language.parameters() if p.ndim >= 2]
    others = [p for p in language.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{'params': matrices, 'weight_decay': 0.03}, {'params': others, 'weight_decay': 0.0}],
        lr=peak, betas=(0.9, 0.98))
    done = run.resume('reader', language, optimizer)

    def make(step: int) -> Batch:
        return make_batch(
            parts, speller, plan_at(step / steps), np.random.default_rng([2, step]))

    for step, batch in enumerate(ahead(make, done, steps), start=done):
        set_rate(optimizer, learning_rate(step, steps, peak, max(1, min(200, steps // 10))))
        with torch.autocast(device.type, torch.bfloat16):
            scores = answer_logits(model, batch)
        loss = functional.cross_entropy(scores, batch.targets.to(device))
        descend(loss, language, optimizer)
        on_step(step + 1, float(loss.detach()))
        if (step + 1) % measure_every == 0 or step + 1 == steps:
            figures = measure_reader(model, tokenizer, validation)
            run.note(stage='reader', step=step + 1, loss=round(float(loss.detach()), 4), **figures)
            run.save('reader', step + 1, language, optimizer)
            on_measure(step + 1, figures)


@torch.inference_mode()
def measure_reader(
    model: Any, tokenizer: Any, parts: Sequence[Encoded], *, streams: int = 48,
) -> dict[str, float]:
    """
    Share of wholly right answers by kind, on streams of all grids of ``streams`` houses.

    Once with all tokens, once (``sparse_``) with a fifth of them, the same questions each time,
    and once more for questions that follow others of their dialogue (``follow_``).
    """
    device = next(model.parameters()).device
    speller = Speller(tokenizer)
    places = [(part, house) for part in range(len(parts))
              for house in range(parts[part].tokens.shape[1])][:streams]
    figures: dict[str, float] = {}
    for name, keep, goes_on in (('', 1.0, 0.0), ('sparse_', 0.2, 0.0), ('follow_', 1.0, 1.0)):
        right: dict[str, list[bool]] = {}
        for first in range(0, len(places), 8):
            grids = parts[0].tokens.shape[2]
            plan = Plan(
                (grids, grids), (keep, keep), 12, canonical=True, most=CELLS * grids,
                goes_on=goes_on)
            batch = make_batch(
                parts, speller, plan, np.random.default_rng([9, first]), places[first:first + 8])
            with torch.autocast(device.type, torch.bfloat16):
                good = (answer_logits(model, batch).argmax(-1).cpu() == batch.targets)
            for number, question in enumerate(batch.questions):
                if goes_on and not batch.follows[number]:
                    continue
                right.setdefault(question.kind, []).append(
                    bool(good[batch.question == number].all()))
                if question.answer == 'not seen':
                    right.setdefault('not_seen', []).append(right[question.kind][-1])
        for kind, values in right.items():
            figures[name + kind] = round(float(np.mean(values)), 4)
        asked = [value for kind, values in right.items() if kind != 'not_seen'
                 for value in values]
        figures[f'{name}all'] = round(float(np.mean(asked)), 4)
    return figures
