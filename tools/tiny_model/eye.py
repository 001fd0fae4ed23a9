# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Step 1 of training: the vision tower learns to name what each of its tokens shows.

Every token of a grid is asked for three words: the shape of the object it shows (or none), that
object's colour (or none) and the room the thing shown is in. The classifier's weights are the
language model's own word vectors, held still, so a token that shows a red ball in the kitchen
ends up near the sum of these three words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from infinipot_ros.vlm.pixels import patchify
from tools.tiny_model.dataset import Shard
from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES

IGNORE = -100
SHOWN = 36
HIDDEN = 8
SCALE = 12.0
OFFSET = 0.5

COLUMNS = 6


@dataclass(frozen=True)
class Labels:
    """Class of each token, int64 ``[grids, cells]``; the last shape and colour mean none."""

    shape: Tensor
    colour: Tensor
    room: Tensor


def cell_labels(
    things: Tensor, rooms: Tensor, colours: Tensor, homes: Tensor,
) -> Labels:
    """
    Turn pixel counts into labels; what is in doubt is left out.

    :param things: ``[grids, cells, shapes]`` mean pixels over the grid's two frames.
    :param rooms: ``[grids, cells, rooms]``, likewise.
    :param colours: ``[grids, shapes]``, and ``homes`` likewise: the house's facts.
    """
    most, shape = things.max(-1)
    second = things.topk(2, -1).values[..., 1]
    total = things.sum(-1)
    clear = (most >= SHOWN) & (most >= 2 * second)
    empty = total < HIDDEN
    # 'in doubt' stays IGNORE
    shape_label = torch.where(clear, shape, torch.where(empty, len(SHAPES), IGNORE))
    colour = colours.gather(1, shape)
    colour_label = torch.where(clear, colour, torch.where(empty, len(COLOUR_NAMES), IGNORE))
    share, room = rooms.max(-1)
    walls = torch.where(share >= 0.65 * rooms.sum(-1).clamp(min=1), room, IGNORE)
    room_label = torch.where(clear, homes.gather(1, shape), torch.where(empty, walls, IGNORE))
    return Labels(shape_label, colour_label, room_label)


def word_logits(tokens: Tensor, words: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """
    Score every token's shape, colour (each with a last class for none) and room.

    :param tokens: ``[grids, cells, hidden]``.
    :param words: ``[shapes + colours + rooms, hidden]``, of norm 1.
    """
    scores = SCALE * (tokens.float() @ words.float().T - OFFSET)
    shapes, colours, rooms = scores.split([len(SHAPES), len(COLOUR_NAMES), len(ROOMS)], -1)
    none = torch.zeros_like(scores[..., :1])
    return torch.cat([shapes, none], -1), torch.cat([colours, none], -1), rooms


def eye_loss(tokens: Tensor, words: Tensor, labels: Labels) -> Tensor:
    """Average the three cross entropies; tokens that show an object count four times."""
    shape, colour, room = word_logits(tokens, words)
    weight = torch.where(
        (labels.shape >= 0) & (labels.shape < len(SHAPES)), 4.0, 1.0).reshape(-1)
    loss = torch.zeros((), device=tokens.device)
    for scores, label in ((shape, labels.shape), (colour, labels.colour), (room, labels.room)):
        each = functional.cross_entropy(
            scores.reshape(-1, scores.shape[-1]), label.reshape(-1), ignore_index=IGNORE,
            reduction='none')
        loss = loss + (each * weight).sum() / weight[label.reshape(-1) != IGNORE].sum()
    return loss


def frames_to_patches(frames: Tensor) -> Tensor:
    """Turn uint8 ``[grids, 2, H, W, 3]`` into float32 ``[grids, patches, 1176]``."""
    count = frames.shape[0]
    patches, _ = patchify(frames.reshape(2 * count, *frames.shape[2:]))
    return patches.reshape(count, -1, patches.shape[-1])


def _augment(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Vary exposure and contrast a little, one draw a grid."""
    count = len(frames)
    gain = 1 + 0.12 * (2 * torch.rand(count, 1, 1, 1, 1, generator=generator) - 1)
    bias = 10 * (2 * torch.rand(count, 1, 1, 1, 1, generator=generator) - 1)
    return (frames.float() * gain + bias).clamp(0, 255)


def eye_batch(
    shard: Shard, houses: np.ndarray, grids: np.ndarray, generator: torch.Generator | None,
) -> tuple[Tensor, Labels]:
    """
    Gather grids and their labels.

    :param generator: where given, exposure is varied, a quarter of the grids repeat one frame, and
        half of them are mirrored.
    :return: patches float32 ``[n, patches, 1176]`` and labels ``[n, cells]``.
    """
    frames = torch.from_numpy(np.stack([
        shard.frames[h, g] for h, g in zip(houses, grids, strict=True)]))
    things = torch.from_numpy(shard.things[houses, grids].astype(np.float32))
    rooms = torch.from_numpy(shard.rooms[houses, grids].astype(np.float32))
    if generator is not None:
        count = len(frames)
        single = torch.rand(count, generator=generator) < 0.25
        which = torch.randint(0, 2, (count,), generator=generator)
        rows = torch.arange(count)
        for values in (frames, things, rooms):
            values[single] = values[rows, which][single][:, None].expand_as(values[single])
        mirrored = torch.rand(count, generator=generator) < 0.5
        frames[mirrored] = frames[mirrored].flip(3)
        for counts in (things, rooms):
            cells = counts[mirrored]
            counts[mirrored] = cells.unflatten(2, (-1, COLUMNS)).flip(3).flatten(2, 3)
        frames = _augment(frames, generator)
    labels = cell_labels(
        things.mean(1), rooms.mean(1), torch.from_numpy(shard.colours[houses]).clamp(min=0),
        torch.from_numpy(shard.homes[houses]).clamp(min=0))
    return frames_to_patches(frames), labels


def eye_accuracy(tokens: Tensor, words: Tensor, labels: Labels) -> dict[str, tuple[int, int]]:
    """Count the right and the judged tokens: shape, colour and room of objects, empties, rooms."""
    shape, colour, room = (scores.argmax(-1) for scores in word_logits(tokens, words))
    thing = (labels.shape >= 0) & (labels.shape < len(SHAPES))
    empty = labels.shape == len(SHAPES)
    judged = {
        'shape': (shape == labels.shape, thing),
        'colour': (colour == labels.colour, thing),
        'home': (room == labels.room, thing),
        'empty': (shape == labels.shape, empty),
        'room': (room == labels.room, empty & (labels.room >= 0)),
    }
    return {name: (int((right & of).sum()), int(of.sum())) for name, (right, of) in judged.items()}
