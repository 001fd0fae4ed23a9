# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A second look: the frames a first answer rests on are encoded again, whole, for another one.

``docs/explanation/second-look.md`` says where this comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infinipot_ros.visual_memory.attention_evidence import hidden_tokens
from infinipot_ros.visual_memory.evidence import best_moments
from infinipot_ros.visual_memory.frame_store import frames_of_jpeg
from infinipot_ros.visual_memory.memory_state import MemoryState
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock
from infinipot_ros.visual_memory.recent_frames import UNKNOWN
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.model import VisionLanguageModel


@dataclass(frozen=True)
class LookedAgain:
    """
    Grids that were written again, for one question only.

    :param grids: their numbers before, by the ones they have now.
    :param frames: of them all.
    """

    grids: dict[int, int] = field(default_factory=dict)
    frames: int = 0

    def before(self, by_grid: Mapping[int, Any]) -> dict[int, Any]:
        """Number what belongs to grids as it was before."""
        return {self.grids.get(grid, grid): each for grid, each in by_grid.items()}

    def now(self, known: Mapping[int, Observation]) -> dict[int, Observation]:
        """Number what a first answer could attend to as it is now."""
        numbers = {before: now for now, before in self.grids.items()}
        return {numbers.get(grid, grid): each for grid, each in known.items()}


def choose_grids(
    scores: Mapping[int, float], held: Mapping[int, Observation], most: int,
) -> list[int]:
    """
    Choose what a second look is at: the strongest grid of each moment first, then the strongest.

    :param scores: share of a first answer's attention by grid.
    :param held: the grids whose jpegs are held.
    :return: at most ``most``, best first.
    """
    peaks = [each.grid for each in best_moments(scores, held, most)]
    strongest = sorted((grid for grid in held if scores.get(grid)), key=lambda g: -scores[g])
    return list(dict.fromkeys([*peaks, *strongest]))[:most]


def look_again(
    state: MemoryState, model: VisionLanguageModel, grids: Iterable[int],
    on_grid: Callable[[], None],
) -> LookedAgain:
    """
    Write remembered grids again, whole, from their jpegs.

    Each sees what is left of the grids before it, as when it was first encoded. Called within
    ``FrameEncoder.newest_appended``, which rolls them back.

    :param on_grid: called before each; what it raises is passed on.
    :return: without those whose jpeg is gone or damaged, or that there is no room for.
    :raises FrameError: they cannot be encoded; some may be written.
    """
    cache, observations = state.cache, dict(state.observations.items())
    found = {}
    for grid in sorted(grids):
        jpeg = state.looks.get(grid)
        if jpeg is None:
            continue
        frames = frames_of_jpeg(jpeg, observations[grid], cache.grid_shapes.of(grid)[:2], model)
        if frames is None:
            state.looks.faults += 1
            continue
        found[grid] = frames
    again: dict[int, int] = {}
    for grid, frames in found.items():
        on_grid()
        label = state.label_of(frames[0].camera)
        height, width = frames[0].pixels.shape[:2]
        tokens = model.grid_tokens(height, width, label)
        if cache.memory_length + tokens > cache.budget.tokens:
            # A memory that was loaded may leave less room than was planned.
            break
        before = [each for each in observations if each < grid and each not in found]
        hook = AttentionHook(
            cache.prefix_length, cache.memory_length,
            hidden=hidden_tokens(cache.views(), [*before, *again]))
        [(number, _)] = state.write_block(
            PendingBlock(1, tokens, model.family.FRAMES_PER_GRID, frames, label), hook,
            [cache.grid_starts.get(grid, UNKNOWN)])
        again[number] = grid
    return LookedAgain(again, sum(len(found[grid]) for grid in again.values()))
