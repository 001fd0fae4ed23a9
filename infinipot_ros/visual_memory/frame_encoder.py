# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames on their way into the memory: waiting in blocks, then keys and values in the cache."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from infinipot_ros.errors import ConfigurationError, FrameError, MemoryFullError
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy
from infinipot_ros.visual_memory.memory_config import FRAMES_PER_GRID, MemoryConfig
from infinipot_ros.visual_memory.observations import Observation, Observations
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.plan import PREFIX_ROOM, cache_shape, grids_per_block
from infinipot_ros.visual_memory.position_rebase import (
    RENUMBER_AT,
    most_time,
    rebase_positions,
    renumber,
)
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.positions import grid_positions, text_positions
from infinipot_ros.vlm.prompt import prefix_ids


def divide(
    policy: EvictionPolicy, settings: MemoryConfig, shares: dict[int, float]
) -> EvictionPolicy:
    """Have a policy divide the budget among cameras, where settings declare shares."""
    return PerSourcePolicy(policy, shares) if settings.camera_shares else policy


class FrameEncoder:
    """
    What is remembered and what waits to be.

    :param settings: may be replaced by ones that fit the same buffers.
    """

    def __init__(self, settings: MemoryConfig, model: QwenVL) -> None:
        self.settings = settings
        self._model = model
        self.cache = BoundedCache(
            cache_shape(model.shape, settings), settings.make_budget(),
            prefix_room=PREFIX_ROOM, tail_room=settings.tail_room)
        self.observations = Observations()
        self.thumbnails = Thumbnails(settings.thumbnail_bytes)
        self.reset()
        self.most_time = most_time(model, settings, self.cache)

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self._shares: dict[int, float] = {}
        self.policy = self.make_policy(self.settings)
        self.cache.clear()
        self.observations.clear()
        self.thumbnails.clear()
        self.timeline = self._model.timeline()
        self.stamps = StampOrder()
        self.blocks: dict[str, PendingBlock] = {}
        self.camera_tokens: dict[str, int] = {}
        self.frames_encoded = self.frames_still = 0
        self.last_ingest_s = 0.0
        ids = prefix_ids(self._model.tokenizer)
        with self.cache.writing_prefix(len(ids)):
            self._model.forward(
                self._model.embed(ids), text_positions(0, len(ids)), self.cache)

    def make_policy(self, settings: MemoryConfig) -> EvictionPolicy:
        """Build a fresh policy that divides the budget among the cameras there are."""
        return divide(settings.make_policy(), settings, self._shares)

    def change(self, settings: MemoryConfig) -> None:
        """
        Go on with settings that fit the same buffers.

        :raises ConfigurationError: the policy does not compress to a smaller budget; nothing was
            changed.
        :raises FrameError: waiting frames were lost on the way; nothing was changed.
        """
        budget, policy, shares = settings.make_budget(), self.policy, self._shares
        chosen = ('policy', 'tar_ratio', 'recent_ratio', 'cameras', 'camera_shares')
        if any(getattr(settings, name) != getattr(self.settings, name) for name in chosen):
            shares = settings.shares_of(self.stamps.cameras)
            policy = divide(settings.make_policy(), settings, shares)
        if self.reserved > budget.tokens:
            self.encode_block(*self.blocks)
        try:
            compressed = self.cache.change_budget(budget, policy, self.reserved)
        except MemoryFullError as error:
            raise ConfigurationError(f'the budget stays as it is: {error}') from error
        self._shares = shares
        if compressed:
            self.drop_evicted()
        self.thumbnails.shrink(settings.thumbnail_bytes)
        self.settings, self.policy = settings, policy
        self.count_cameras()

    def add(self, frame: PendingFrame, jumped: bool, queued_frames: int = 0) -> None:
        """
        Let a frame wait for its block, and encode the block if it is complete.

        :param queued_frames: frames of the same camera that come at once.
        """
        height, width = frame.pixels.shape[:2]
        rows, columns = self._model.grid_size(height, width)
        tokens = rows * columns
        if tokens > self.cache.budget.tokens:
            raise FrameError(
                'too_many_tokens',
                f'one grid of frames encoded at {width}x{height} has {tokens} tokens, the '
                f'budget is {self.cache.budget.tokens}; raise the budget or lower max_pixels')
        if jumped:
            self.encode_block(*self.blocks)
        elif frame.camera in self.blocks and not self.blocks[frame.camera].takes(frame.pixels):
            self.encode_block(frame.camera)
        block = self.blocks.get(frame.camera) or self._begin_block(frame.camera, tokens)
        if jumped or not self.stamps.segments:
            self.timeline = self.timeline.new_segment(frame.stamp_ns)
        newcomer = frame.camera not in self.stamps.cameras
        self.stamps.take(frame.camera, frame.stamp_ns, jumped)
        if newcomer:
            self.count_cameras()
        self.blocks[frame.camera] = block
        block.frames.append(frame)
        self._fit_to_load(block, queued_frames)
        self.make_position_room()
        if block.complete:
            self.encode_block(frame.camera)

    def make_position_room(self) -> None:
        """Re-base positions and renumber grids where what waits would pass the last there is."""
        waiting = sum(block.grids for block in self.blocks.values())
        if self.cache.next_grid + waiting > RENUMBER_AT:
            renumber(self.cache, self.observations, self.thumbnails)
        if self.timeline.reach(self.stamps.newest_ns, waiting) > self.most_time:
            self.timeline = rebase_positions(
                self.cache, self.observations, self.timeline, self.stamps.newest_ns,
                self.most_time, self._model)

    def extend_last(
        self, camera: str, until_ns: int, stamp_ns: int, queued_frames: int = 0,
    ) -> bool:
        """
        Let a camera's last frame stand for one that shows the same.

        :param until_ns: the newest stamp it stands for so far.
        :param queued_frames: frames of the same camera that come at once.
        :return: false where that frame is not remembered any more: the new one has to be taken.
        """
        block = self.blocks.get(camera)
        if block is not None and block.frames[-1].last_ns == until_ns:
            block.frames[-1] = replace(block.frames[-1], until_ns=stamp_ns)
        elif block is not None or not self.observations.extend(camera, until_ns, stamp_ns):
            return False
        self.stamps.take(camera, stamp_ns, jumped=False)
        self.frames_still += 1
        if block is not None:
            # It may have waited for just this frame, and questions read what waits each time.
            self._fit_to_load(block, queued_frames)
            if block.complete:
                self.encode_block(camera)
        return True

    def _begin_block(self, camera: str, grid_tokens: int) -> PendingBlock:
        """Make room now, so that incomplete blocks can be asked about at any time."""
        cameras = len({*self.stamps.cameras, camera})
        block = PendingBlock(grids_per_block(self.settings, grid_tokens, cameras), grid_tokens)
        # Of blocks that do not fit beside each other, the one that waits longest goes first.
        while self.blocks and self.reserved + block.tokens > self.cache.budget.tokens:
            self.encode_block(next(iter(self.blocks)))
        try:
            compressed = self.cache.make_room(self.reserved + block.tokens, self.policy)
        except MemoryFullError as error:
            raise FrameError('memory_full', str(error)) from error
        if compressed:
            self.drop_evicted()
        return block

    def _fit_to_load(self, block: PendingBlock, queued_frames: int) -> None:
        """
        While frames queue up, let a block take them; never more than fit without compressing.

        So the memory is compressed when it would be without a queue, and remembers the same.
        """
        settings, cameras = self.settings, len(self.stamps.cameras)
        others = self.reserved - block.tokens
        fit = (self.cache.budget.tokens - self.cache.memory_length - others) // block.grid_tokens
        usual, most = (
            grids_per_block(settings, block.grid_tokens, cameras, frames)
            for frames in (settings.block_size, settings.most_frames))
        begun = -(-len(block.frames) // FRAMES_PER_GRID)
        queued = (len(block.frames) + queued_frames) // FRAMES_PER_GRID
        block.grids = min(fit, max(usual, begun, min(queued, most)))

    @property
    def reserved(self) -> int:
        """Visual tokens that the waiting blocks may come to."""
        return sum(block.tokens for block in self.blocks.values())

    def drop_evicted(self) -> None:
        """Give up what is known about grids of which no token is left."""
        grids = self.cache.remembered_grids()
        self.observations.keep(grids)
        self.thumbnails.keep(grids)
        self.count_cameras()

    def count_cameras(self) -> None:
        """Note each camera's tokens and its share, by number."""
        self._shares.clear()
        self._shares.update(self.settings.shares_of(self.stamps.cameras))
        counts = self.cache.source_tokens()
        self.camera_tokens = {
            camera: round(counts.get(number, 0.0))
            for number, camera in enumerate(self.stamps.cameras)}

    def encode_block(self, *cameras: str) -> None:
        """Make waiting frames part of the memory; those for which that fails are lost, no more."""
        for camera in cameras:
            block = self.blocks.pop(camera)
            started = time.perf_counter()
            grids = self.write_block(block)
            # What the cache holds is known, whatever comes of its pictures.
            for grid, frames, time_index in grids:
                self.observations.add(grid, Observation.of(frames), time_index)
            self.frames_encoded += len(block.frames)
            self.count_cameras()
            for grid, frames, _ in grids if self.settings.thumbnail_bytes else ():
                self.thumbnails.add(grid, make_thumbnail(frames[0].pixels))
            self.last_ingest_s = time.perf_counter() - started

    def append_waiting(self) -> tuple[dict[int, list[PendingFrame]], FrameError | None]:
        """
        Write all waiting blocks into the cache, the oldest first, until it is rolled back.

        :return: which grid holds which frames; why a block was left out, if one was: once it is
            complete, its frames are refused for that.
        """
        grids: dict[int, list[PendingFrame]] = {}
        fault = None
        for block in sorted(self.blocks.values(), key=lambda block: block.frames[0].stamp_ns):
            try:
                grids.update((grid, frames) for grid, frames, _ in self.write_block(block))
            except FrameError as error:
                fault = error
        return grids, fault

    def write_block(self, waiting: PendingBlock) -> list[tuple[int, list[PendingFrame], int]]:
        """
        Write a block's keys and values into the cache.

        :return: each grid, what it holds, and where in time it stands.
        """
        first_grid, grids = self.cache.next_grid, waiting.by_grid()
        block = self._model.encode(torch.stack([frame.pixels for frame in waiting.frames]))
        timeline, times = self.timeline, []
        for frames in grids:
            timeline = timeline.advance(frames[0].stamp_ns, block.rows, block.columns)
            times.append(timeline.last)
        positions = grid_positions(
            self.cache.prefix_length, times, block.rows, block.columns)
        source = self.stamps.number(waiting.frames[0].camera)
        with self.cache.writing_grids(len(times), block.rows, block.columns, source):
            hidden = self._model.forward(
                block.tokens.flatten(0, 1).unsqueeze(0), positions, self.cache)
            # Kept, they would spread to whatever looks at them: all later frames and answers.
            if not bool(hidden.isfinite().all()):
                raise FrameError(
                    'overflow',
                    f'the model comes to no finite numbers in {self.settings.dtype}; set dtype '
                    'to bfloat16 or float32')
        self.timeline = timeline
        return [
            (grid, frames, index)
            for grid, (frames, index) in enumerate(zip(grids, times, strict=True), first_grid)]

    @property
    def frames_pending(self) -> int:
        """How many frames wait for their block."""
        return sum(len(block.frames) for block in self.blocks.values())

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest frame still remembered, or else waiting; 0 if none."""
        oldest = self.observations.oldest
        if oldest is not None:
            return oldest.first_ns
        return min((block.frames[0].stamp_ns for block in self.blocks.values()), default=0)
