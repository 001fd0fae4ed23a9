# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole prompt that a memory reads piece by piece: what a plain pipeline is given at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import text_positions


@dataclass(frozen=True)
class OneShotPrompt:
    """
    Frames, question and answer as one sequence.

    :param pixels: frames at the size they are encoded at, uint8 ``[T, h, w, 3]``, on the CPU.
    :param ids: of the prompt and the answer; a visual token has ``visual_id``.
    :param positions: of ``ids``, int64 ``[3, 1, n]``.
    :param answer: how many of ``ids`` are the answer's.
    :param grid_seconds: from one grid to the next.
    """

    pixels: Tensor
    ids: list[int]
    visual_id: int
    positions: Tensor
    answer: int
    grid_seconds: float

    @classmethod
    def of(
        cls, model: VisionLanguageModel, frames: Sequence[Frame], question: str, max_pixels: int,
        answer: Sequence[int] = (),
    ) -> OneShotPrompt:
        """
        Put it together from the pieces that the model's family has for a memory.

        :param frames: of one size.
        :param answer: token ids of the answer so far.
        """
        prefix, per_grid = model.prompt.prefix_ids, model.family.FRAMES_PER_GRID
        pixels = torch.stack([model.fit(frame.rgb, max_pixels).cpu() for frame in frames])
        rows, columns = model.grid_size(pixels.shape[1], pixels.shape[2])
        visual_id: int = model.tokenizer.convert_tokens_to_ids(model.family.MARK)
        ids, parts = list(prefix), [text_positions(0, len(prefix))]
        timeline = model.timeline().new_segment(frames[0].stamp_ns)
        starts = [frame.stamp_ns for frame in frames[::per_grid]]
        for number, stamp_ns in enumerate(starts):
            stamps = [frame.stamp_ns for frame in frames[number * per_grid:][:per_grid]]
            before, after = model.grid_text(timeline.seconds(stamps))
            lengths = len(before), len(after)
            timeline = timeline.advance(stamp_ns, rows, columns, *lengths)
            parts.append(timeline.grid_positions(
                len(prefix), [timeline.last], rows, columns, [lengths]))
            ids += [*before, *[visual_id] * (rows * columns), *after]
        behind = [*model.prompt.question_ids(question), *answer]
        parts.append(text_positions(timeline.text_start(len(prefix)), len(behind)))
        grid_seconds = (starts[1] - starts[0]) / 1e9 if len(starts) > 1 else 0.0
        return cls(
            pixels, ids + behind, visual_id, torch.cat(parts, dim=2), len(answer), grid_seconds)
