# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The patch embedding as one matrix product, against the published towers' convolution."""

import pytest
import torch
from camera import noise
from tiny_models import KINDS, make_tiny
from torch import nn
from transformers import AutoModelForImageTextToText

from infinipot_ros.vlm.fingerprint import sample_weights
from infinipot_ros.vlm.loading import load_model
from infinipot_ros.vlm.patch_embedding import make_linear
from infinipot_ros.vlm.pixels import patchify


@pytest.mark.parametrize('kind', KINDS)
def test_visual_tokens_equal_the_published_towers(kind, tmp_path):
    path = make_tiny(kind, tmp_path)
    plain = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).model
    assert isinstance(plain.visual.patch_embed.proj, nn.Conv3d)
    frames = torch.stack([torch.as_tensor(noise(index, 84, 112)) for index in range(4)])
    patches, grid = patchify(frames)
    with torch.inference_mode():
        first = plain.visual.patch_embed(patches)
        output = plain.visual(patches, grid_thw=grid)
    theirs = output if isinstance(output, torch.Tensor) else output.pooler_output

    model = load_model(str(path))
    ours = model.encode(frames).tokens.flatten(0, 1)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert theirs.std() > 0.01
    # A memory saved with the one is known by the other.
    assert torch.equal(model.fingerprint.sample, sample_weights(plain))
    for _ in range(2):
        make_linear(plain.visual)
        assert isinstance(plain.visual.patch_embed, nn.Linear)
        assert torch.allclose(plain.visual.patch_embed(patches), first, atol=1e-5)


@pytest.mark.parametrize('convolution', [
    nn.Conv3d(3, 8, (2, 14, 14), (2, 7, 7), bias=False),
    nn.Linear(3, 8)])
def test_another_patch_embedding_is_left_alone(convolution):
    tower, embedding = nn.Module(), nn.Module()
    embedding.proj = convolution
    tower.patch_embed = embedding
    make_linear(tower)
    assert tower.patch_embed is embedding
