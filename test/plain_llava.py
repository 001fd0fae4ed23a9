# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
LLaVA without any of our code around it: what transformers' processors make, one forward pass.

The video processors themselves need torchvision, so their steps are written out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForImageTextToText, AutoTokenizer

from infinipot_ros.visual_memory.frame import RgbImage


def processed(frames: list[RgbImage], settings: dict[str, Any]) -> Tensor:
    """
    Pixel values of a video, float32 [1, T, 3, h, w], as ``BaseVideoProcessor`` makes them.

    :param settings: of video_preprocessor_config.json.
    """
    video = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    height, width = video.shape[-2:]
    size = settings['size']
    if 'shortest_edge' in size:
        short, long = sorted((height, width))
        edge = size['shortest_edge']
        longer = int(edge * long / short)
        target = (edge, longer) if height <= width else (longer, edge)
    else:
        target = (size['height'], size['width'])
    video = functional.interpolate(video, target, mode='bicubic', antialias=True)
    if settings.get('do_center_crop'):
        height, width = settings['crop_size']['height'], settings['crop_size']['width']
        top, left = int((target[0] - height) / 2.0), int((target[1] - width) / 2.0)
        video = video[..., top:top + height, left:left + width]
    mean, std = (
        torch.tensor(settings[name]).view(3, 1, 1) for name in ('image_mean', 'image_std'))
    # Rescaled and normalised in one step, as they are there.
    return ((video.float() - 255 * mean) / (255 * std)).unsqueeze(0)


class PlainLlava:
    """A checkpoint loaded by transformers, with the prompt of its own processor's template."""

    def __init__(self, path: Path) -> None:
        self.model: Any = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        legacy = path / 'chat_template.json'
        if legacy.is_file():
            self.tokenizer.chat_template = json.loads(legacy.read_text())['chat_template']
        self.settings = json.loads((path / 'video_preprocessor_config.json').read_text())
        self.newline = self.model.config.model_type == 'llava_onevision'

    def ids(self, frames: int, question: str, turns: list[tuple[str, str]] | None = None,
            ) -> list[int]:
        """Token ids of a dialogue about one video, as the processor expands its place."""
        said = [each for turn in turns or [] for each in turn] + [question]
        messages = [
            {'role': ('user', 'assistant')[index % 2], 'content': [{'type': 'text', 'text': text}]}
            for index, text in enumerate(said)]
        messages[0]['content'].insert(0, {'type': 'video'})
        text = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True)
        marks = '<video>' * (frames * 9 + self.newline)
        return self.tokenizer(text.replace('<video>', marks))['input_ids']

    @torch.inference_mode()
    def features(self, frames: list[RgbImage]) -> Tensor:
        """Visual tokens [T * 9, hidden], and the newline behind them where there is one."""
        config = self.model.config
        # The place of a video shows what the model puts there, in every release.
        seen: list[Tensor] = []
        language = self.model.model.language_model
        handle = language.register_forward_pre_hook(
            lambda module, given, named: seen.append(named['inputs_embeds']), with_kwargs=True)
        try:
            marks = [config.video_token_index] * (len(frames) * 9 + self.newline)
            self.model(input_ids=torch.tensor([marks]),
                       pixel_values_videos=processed(frames, self.settings))
        finally:
            handle.remove()
        return seen[0][0]

    @torch.inference_mode()
    def logits(self, frames: list[RgbImage], question: str, answer: list[int]) -> Tensor:
        """Scores before each token of a given answer, and after it: [len(answer) + 1, words]."""
        ids = self.ids(len(frames), question)
        output = self.model(
            input_ids=torch.tensor([ids + answer]),
            pixel_values_videos=processed(frames, self.settings))
        return output.logits[0, len(ids) - 1:].float()
