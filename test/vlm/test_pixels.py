# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames to patches, against the Hugging Face processor."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infinipot_ros.errors import FrameError
from infinipot_ros.vlm.pixels import patchify, resize, smart_resize


def image_processor():
    """The one that works without torchvision: transformers 5 keeps it in a module of its own."""
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil as Processor,
        )
    except ImportError:
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import (
            Qwen2VLImageProcessor as Processor,
        )
    return Processor()


@pytest.mark.parametrize('size', [(112, 168), (56, 84), (364, 252)])
def test_patches_equal_the_processors(size):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    theirs = image_processor()(images=Image.fromarray(frame), return_tensors='pt')
    ours, grid = patchify(frame[None])
    assert grid.tolist() == theirs['image_grid_thw'].tolist()
    assert torch.allclose(ours, theirs['pixel_values'].float(), atol=1e-5)


def test_each_patch_holds_its_own_pixels():
    frames = np.arange(2 * 28 * 56 * 3, dtype=np.int64).reshape(2, 28, 56, 3) % 251
    patches, grid = patchify(frames.astype(np.uint8), mean=(0, 0, 0), std=(1 / 255,) * 3)
    assert grid.tolist() == [[1, 2, 4]]
    # Merge windows of 2 x 2 patches come one after the other: the fifth patch opens the second.
    patch = patches[4].view(3, 2, 14, 14)
    assert torch.equal(
        patch.permute(1, 2, 3, 0).round().long(), torch.as_tensor(frames)[:, :14, 28:42])


def test_an_odd_last_frame_is_doubled():
    frames = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    odd, grid = patchify(frames)
    even, _ = patchify(np.concatenate([frames, frames[-1:]]))
    assert int(grid[0, 0]) == 2
    assert torch.equal(odd, even)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 4000), st.integers(1, 4000), st.integers(4, 64), st.integers(256, 1024))
def test_sizes_are_multiples_within_the_limits(height, width, least, most):
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(FrameError, match='longer than 200'):
            smart_resize(height, width, factor=28, min_pixels=784, max_pixels=784)
        return
    rows, columns = smart_resize(
        height, width, factor=28, min_pixels=least * 784, max_pixels=most * 784)
    assert rows % 28 == columns % 28 == 0
    assert rows * columns >= min(least, 1) * 784
    if max(height, width) < 8 * min(height, width):
        assert least * 784 <= rows * columns <= most * 784


def test_a_frame_of_the_right_size_is_left_alone():
    frames = torch.randint(0, 256, (1, 56, 56, 3), dtype=torch.uint8)
    assert resize(frames, 56, 56) is frames


def test_resizing_looks_like_pillows():
    ramp = np.linspace(0, 255, 120).astype(np.uint8)
    frame = np.stack([np.tile(ramp, (90, 1))] * 3, axis=-1)
    ours = resize(torch.as_tensor(frame)[None], 56, 84)[0].numpy().astype(int)
    theirs = np.asarray(Image.fromarray(frame).resize((84, 56), Image.Resampling.BICUBIC))
    assert np.abs(ours - theirs.astype(int)).max() <= 2
