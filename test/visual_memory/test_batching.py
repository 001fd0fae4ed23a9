# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames that queue up are encoded together, and remembered as if they had come one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

SECOND = 1_000_000_000
FRAMES = 61


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (56, 84, 3), dtype=np.uint8) for _ in range(FRAMES)]


def watch(tiny: str, queue: int, monkeypatch, **changes) -> tuple[VisualMemory, list[int]]:
    """Show all frames while up to ``queue`` wait behind each; how many each pass encoded."""
    memory = VisualMemory(MemoryConfig(
        tiny, **{'budget': 96, 'max_pixels': 56 * 84, 'max_new_tokens': 4, **changes}))
    passes: list[int] = []
    encode = memory.model.encode
    monkeypatch.setattr(
        memory.model, 'encode',
        lambda frames: (passes.append(len(frames)), encode(frames))[1])
    for index, rgb in enumerate(pictures()):
        memory.add_frame(
            rgb, (index + 1) * SECOND, queued_frames=min(queue, FRAMES - 1 - index))
    monkeypatch.undo()
    return memory, passes


@pytest.mark.parametrize('policy', ['rarity', 'infinipot_v', 'recent'])
def test_the_memory_is_the_same(tiny, monkeypatch, policy) -> None:
    one, single = watch(tiny, 0, monkeypatch, policy=policy)
    many, together = watch(tiny, 20, monkeypatch, policy=policy)
    assert set(single) == {2} and max(together) == 8
    assert len(together) < len(single) / 2
    assert one.status().compressions == many.status().compressions > 2
    assert torch.equal(one.coordinates(), many.coordinates())
    for first, second in zip(one.capture().views, many.capture().views, strict=True):
        assert torch.allclose(first.keys, second.keys, atol=1e-4)
        assert torch.allclose(first.values, second.values, atol=1e-4)
    assert one.moments() == many.moments()
    assert one.ask('what?').text == many.ask('what?').text


def test_its_bound(tiny, monkeypatch) -> None:
    _, passes = watch(tiny, 60, monkeypatch, max_batch=4)
    assert max(passes) == 4
    _, passes = watch(tiny, 60, monkeypatch, max_batch=1)
    assert set(passes) == {2}
    _, passes = watch(tiny, 60, monkeypatch, max_batch=2, block_size=6)
    assert max(passes) == 6


def test_frames_that_were_announced_and_do_not_come(tiny) -> None:
    memory = VisualMemory(MemoryConfig(tiny, budget=64, max_pixels=56 * 84, max_new_tokens=2))
    frames = pictures()
    for index in range(3):
        memory.add_frame(frames[index], (index + 1) * SECOND, queued_frames=7)
    assert memory.status().frames_pending == 3
    assert memory.ask('what?').observed_to_ns == 3 * SECOND
    # The next one completes the grids there are, and no grid has a frame twice.
    memory.add_frame(frames[3], 4 * SECOND)
    assert memory.status().frames_pending == 0
    assert [(each.first_ns, each.last_ns) for _, each in memory.moments()] == [
        (SECOND, 2 * SECOND), (3 * SECOND, 4 * SECOND)]


@pytest.mark.parametrize('frames', [16, 17, 18, 20, 23, 24, 37, 40])
def test_a_stream_of_known_length_ends_with_a_full_memory(tiny, frames) -> None:
    """As in the loop of the released code; block by block, grid by grid, in plain numbers."""
    most, left, block = 8, 6, 2
    held: list[int] = []
    grids = -(-frames // 2)
    for first in range(0, grids, block):
        new = list(range(first, min(grids, first + block)))
        if len(held) + len(new) > most:
            last = first + block >= grids
            held = held[-(most - len(new) if last else left):]
        held += new
    memory = VisualMemory(MemoryConfig(
        tiny, budget=most * 6, keep_ratio=left / most, block_size=2 * block, policy='recent',
        max_pixels=56 * 84, max_new_tokens=1))
    for index, rgb in enumerate(pictures()[:frames]):
        memory.add_frame(rgb, (index + 1) * SECOND, frames_left=frames - 1 - index)
    # An odd last frame waits for its partner, but has its room.
    assert memory.ask('what?').memory_tokens == 6 * len(held)
    kept = memory.coordinates()[..., 0].unique().tolist()
    assert kept == held[:len(held) - len(new) * (frames % 2)]
