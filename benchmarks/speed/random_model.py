# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of the published shapes with random weights, to measure what they cost."""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from infinipot_ros.visual_memory.model_shapes import shape_config
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.model_folder import resolve_model


def random_model(
    name: str, *, layers: int | None = None, vision_layers: int | None = None,
    device: str = 'cpu', dtype: torch.dtype = torch.float32, seed: int = 0,
    few_words: bool = False,
) -> VisionLanguageModel:
    """
    Return a model of a published shape with random weights, on a device.

    Its answers mean nothing and end only at the tokenizer's own stop tokens.

    :param few_words: with the tokenizer's vocabulary, not the published one: in a slice, the
        whole vocabulary's head would outweigh the layers and hide what is done in them.
    """
    config = shape_config(name, layers=layers, vision_layers=vision_layers)
    tokenizer = AutoTokenizer.from_pretrained(
        resolve_model('infinipot-tiny'), local_files_only=True, trust_remote_code=False)
    if few_words:
        config.get_text_config().vocab_size = len(tokenizer)
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForImageTextToText.from_config(
            config, dtype=dtype, attn_implementation='sdpa', trust_remote_code=False)
    return VisionLanguageModel(model.to(device, dtype).eval(), tokenizer)
