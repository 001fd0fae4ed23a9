# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same checkpoint without any of our code around it: one forward pass over everything."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from camera import noise, stamp
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoTokenizer

from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.pixels import patchify

HALF = (0.5, 0.5, 0.5)


def positions_of_4_57(
    prefix: int, rows: int, columns: int, times: list[int], suffix: int,
) -> Tensor:
    """
    The numbering of transformers 4.57 for text, one video, text; written out plainly.

    :param times: the temporal index of each grid.
    """
    ids = [[i, i, i] for i in range(prefix)]
    ids += [
        [prefix + t, prefix + r, prefix + c]
        for t in times for r in range(rows) for c in range(columns)]
    start = max(max(i) for i in ids) + 1
    ids += [[start + i] * 3 for i in range(suffix)]
    return torch.tensor(ids).T.unsqueeze(1)


class PlainModel:
    """A checkpoint loaded by transformers and run in one piece."""

    def __init__(self, path: Path) -> None:
        self.model: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(path)

    def chat_ids(self, question: str, video_tokens: int) -> list[int]:
        """Qwen's chat template for one video and one question."""
        text = (
            '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n'
            '<|vision_start|>' + '<|video_pad|>' * video_tokens + '<|vision_end|>'
            + question + '<|im_end|>\n<|im_start|>assistant\n')
        return self.tokenizer(text, add_special_tokens=False)['input_ids']

    @torch.inference_mode()
    def logits(
        self, frames: Tensor, question: str, answer: list[int], times: list[int],
    ) -> Tensor:
        """
        Scores before each token of a given answer, and after it.

        :param frames: uint8 [T, H, W, 3].
        :return: float32 [len(answer) + 1, vocabulary].
        """
        pixels, grid = patchify(frames)
        rows, columns = int(grid[0, 1]) // 2, int(grid[0, 2]) // 2
        ids = self.chat_ids(question, int(grid[0, 0]) * rows * columns)
        prefix = ids.index(self.tokenizer.convert_tokens_to_ids('<|vision_start|>')) + 1
        suffix = len(ids) - prefix - int(grid[0, 0]) * rows * columns + len(answer)
        output = self.model(
            input_ids=torch.tensor([ids + answer]),
            pixel_values_videos=pixels, video_grid_thw=grid,
            position_ids=positions_of_4_57(prefix, rows, columns, times, suffix))
        return output.logits[0, len(ids) - 1:].float()

    @torch.inference_mode()
    def generate(
        self, frames: Tensor, question: str, times: list[int], **settings: Any,
    ) -> list[int]:
        """
        What transformers' own ``generate`` answers, by the checkpoint's own settings.

        :param settings: overriding those.
        """
        pixels, grid = patchify(frames)
        rows, columns = int(grid[0, 1]) // 2, int(grid[0, 2]) // 2
        visual = int(grid[0, 0]) * rows * columns
        ids = self.chat_ids(question, visual)
        prefix = ids.index(self.tokenizer.convert_tokens_to_ids('<|vision_start|>')) + 1
        positions = positions_of_4_57(prefix, rows, columns, times, len(ids) - prefix - visual)
        delta = positions.max() + 1 - len(ids)
        inner, arguments = self.model.model, {}
        if 'mm_token_type_ids' in inspect.signature(inner.get_rope_index).parameters:
            kinds = torch.zeros(1, len(ids), dtype=torch.int32)
            kinds[0, prefix:prefix + visual] = 2
            arguments['mm_token_type_ids'] = kinds
        # Releases number an answer's positions differently; which tokens are chosen is at stake.
        inner.get_rope_index = lambda *_, **__: (positions, delta.view(1, 1))
        prompt = torch.tensor([ids])
        output = self.model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), pixel_values_videos=pixels,
            video_grid_thw=grid, **arguments, **settings)
        found: list[int] = output[0, len(ids):].tolist()
        return found


@torch.inference_mode()
def scores_with_times(
    path: Path, video: npt.NDArray[np.uint8], question: str, answer: list[int],
    seconds: Sequence[float], thought: str = '',
) -> Tensor:
    """
    Scores of the plain model over a prompt with times, as transformers 4.57 makes Qwen3-VL's.

    :param video: uint8 [T, H, W, 3].
    :param seconds: the time of each grid; ``thought``, what the answer starts with.
    :return: float32 [len(answer) + 1, vocabulary].
    """
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(path)
    pixels, grid = patchify(torch.from_numpy(video), patch_size=16, mean=HALF, std=HALF)
    pads = '<|video_pad|>' * (int(grid[0, 1] * grid[0, 2]) // 4)
    text = '<|im_start|>user\n' + ''.join(
        f'<{each:.1f} seconds><|vision_start|>{pads}<|vision_end|>' for each in seconds)
    ids = tokenizer(
        f'{text}{question}<|im_end|>\n<|im_start|>assistant\n{thought}')['input_ids']
    whole = torch.tensor([ids + answer])
    extra = {}
    if hasattr(model.model, 'compute_3d_position_ids'):
        extra['mm_token_type_ids'] = 2 * (whole == model.config.video_token_id).long()
    output = model(input_ids=whole, pixel_values_videos=pixels, video_grid_thw=grid, **extra)
    return output.logits[0, len(ids) - 1:].float()


def assert_like_plain(
    memory: VisualMemory, path: Path, frames: int, question: str, thought: str = '',
) -> None:
    """Show a memory frames of noise, ask, and compare all scores with the plain model's."""
    video = np.stack([noise(index, 96, 128) for index in range(frames)])
    for index, frame in enumerate(video):
        memory.add_frame(frame, stamp(index))
    scores = watch_scores(memory)
    memory.ask(question)
    since = [(stamp(index) - stamp(0)) / 1e9 for index in range(frames)]
    seconds = [
        (since[first] + since[min(first + 1, frames - 1)]) / 2 for first in range(0, frames, 2)]
    tokens = [int(one.argmax()) for one in scores]
    theirs = scores_with_times(path, video, question, tokens[:-1], seconds, thought)
    worst = (torch.stack(scores) - theirs).abs().max()
    assert worst < 1e-4, f'scores differ by {worst:.2e}'
    assert theirs.std() > 0.1


def watch_scores(memory: VisualMemory) -> list[Tensor]:
    """Listen to the scores the model gives, without changing them."""
    seen: list[Tensor] = []
    scores_of = memory.model.logits

    def listening(hidden):
        scores = scores_of(hidden)
        seen.append(scores.clone())
        return scores

    memory.model.logits = listening
    return seen
