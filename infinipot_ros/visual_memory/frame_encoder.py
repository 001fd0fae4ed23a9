# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Encode frames: pending blocks of frames become what is remembered."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

from infinipot_ros.errors import FrameError
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.attention_evidence import hidden_tokens
from infinipot_ros.visual_memory.debug_state import DebugState
from infinipot_ros.visual_memory.duplicate_filter import DuplicateFilter, Thumbnail
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_snapshot import FittedLayers, MemorySnapshot
from infinipot_ros.visual_memory.memory_state import MemoryState
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.position_rebase import RENUMBER_AT
from infinipot_ros.visual_memory.recent_frames import NewestGrids, RecentGrid, key_of, make_blocks
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.model import VisionLanguageModel


class FrameEncoder:
    """
    Frames that wait to be encoded, and when they are.

    :ivar state: what is remembered.
    :ivar blocks: pending frames, by camera.
    """

    def __init__(self, settings: MemoryConfig, model: VisionLanguageModel) -> None:
        self._model = model
        self.state = MemoryState(settings, model)
        self._recent_room = settings.recent_tokens(model.family)
        self._look_room = settings.look_tokens(model.family)
        self._duplicates = DuplicateFilter()
        self._forget_pending()
        self.last_ingest_s = 0.0

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self.state.clear()
        self._forget_pending()
        self.last_ingest_s = 0.0

    def _forget_pending(self) -> None:
        self._duplicates.clear()
        self.blocks: dict[str, PendingBlock] = {}
        self.frames_duplicate = 0

    def change(self, settings: MemoryConfig) -> None:
        """
        Apply settings that fit the same buffers.

        :raises ConfigurationError: the policy never compresses, as a smaller budget needs; nothing
            was changed.
        :raises FrameError: pending frames could not be encoded and are lost; nothing was changed.
        """
        policy, shares = self.state.policy_for(settings)
        if self.reserved > settings.make_budget().tokens:
            self.encode_block(*self.blocks)
        self.state.change(settings, policy, shares, self.reserved)

    def add(
        self, frame: PendingFrame, jumped: bool, queued_frames: int = 0,
        thumbnail: Thumbnail | None = None, frames_left: int | None = None,
        recent: PendingFrame | None = None,
    ) -> None:
        """
        Add a frame to its camera's block, and encode the block if it is complete.

        :param jumped: whether the clock jumped, see ``StampOrder.check``.
        :param queued_frames: frames of the same camera that follow at once.
        :param thumbnail: to find duplicates of this frame by.
        :param frames_left: frames of any camera that follow until the stream ends; None: unknown.
        :param recent: the frame as it is encoded while it is recent; None: it is not kept.
        :raises FrameError: the frame is lost, or the block that it completed.
        """
        height, width = frame.pixels.shape[:2]
        label = self.state.label_of(frame.camera)
        tokens = self._model.grid_tokens(height, width, label)
        budget = self.state.cache.budget.tokens
        most = budget - self._recent_room - self._look_room
        if tokens > most:
            raise FrameError(
                'too_many_tokens',
                f'one grid of frames encoded at {width}x{height} has {tokens} tokens, the '
                f'budget of {budget} has room for {most}; raise the budget or lower max_pixels')
        if jumped:
            self.encode_block(*self.blocks)
            self.state.recent.clear()
        elif frame.camera in self.blocks and not self.blocks[frame.camera].takes(frame.pixels):
            self.encode_block(frame.camera)
        block = self.blocks.get(frame.camera) or self._begin_block(
            frame.camera, tokens, frames_left, label)
        self.state.take_stamp(frame.camera, frame.stamp_ns, jumped=jumped)
        self.blocks[frame.camera] = block
        begins = len(block.frames) % block.frames_per_grid == 0
        block.frames.append(frame)
        if recent is not None:
            self.state.recent.add(recent, begins=begins)
        self._fit_to_load(block, queued_frames)
        self.make_position_room()
        if block.complete:
            self.encode_block(frame.camera)
        if thumbnail is not None:
            self._duplicates.update(frame.camera, thumbnail, frame.stamp_ns)

    def make_position_room(self) -> None:
        """Re-base positions and renumber grids if pending frames would pass the last one."""
        state, recent = self.state, self._recent_blocks(self._recent_room)
        blocks = [*self.blocks.values(), *(block for block, _ in recent)]
        if (state.cache.next_grid + state.look_grids
                + sum(block.grids for block in blocks) > RENUMBER_AT):
            state.renumber()
        # No grid takes more positions than it has tokens.
        steps = self._look_room + sum(
            block.grids * state.timeline.width(
                *self._model.grid_size(*block.frames[0].pixels.shape[:2]),
                self._model.grid_text_tokens(block.label))
            for block in blocks)
        if state.timeline.reach(state.stamps.newest_ns, steps) > state.last_time:
            state.rebase()

    def skip_duplicate(
        self, camera: str, thumbnail: Thumbnail, stamp_ns: int, queued_frames: int = 0,
    ) -> bool:
        """
        Extend the time of a camera's last stored frame, if a new one shows the same.

        :param queued_frames: frames of the same camera that follow at once.
        :return: whether it does; false if that frame is no longer remembered.
        """
        state = self.state
        until_ns = self._duplicates.find(
            camera, thumbnail, stamp_ns, state.settings.duplicate_similarity,
            round(state.settings.max_duplicate_age_s * SECOND_NS))
        if not until_ns:
            return False
        block = self.blocks.get(camera)
        if block is not None and block.frames[-1].last_ns == until_ns:
            block.frames[-1] = replace(block.frames[-1], until_ns=stamp_ns)
        elif block is not None or not state.observations.extend(camera, until_ns, stamp_ns):
            return False
        self._duplicates.extend(camera, stamp_ns)
        state.recent.extend(camera, stamp_ns)
        state.take_stamp(camera, stamp_ns, jumped=False)
        self.frames_duplicate += 1
        if block is not None:
            # The block may have waited for just this frame; each question reads it again.
            self._fit_to_load(block, queued_frames)
            if block.complete:
                self.encode_block(camera)
        return True

    def _begin_block(
        self, camera: str, grid_tokens: int, frames_left: int | None, label: str,
    ) -> PendingBlock:
        """Make room now, so that questions can read incomplete blocks at any time."""
        cameras = len({*self.state.stamps.cameras, camera})
        per_grid = self._model.family.FRAMES_PER_GRID
        grids = self.state.settings.grids_per_block(grid_tokens, cameras, frames_per_grid=per_grid)
        last = frames_left is not None and 1 + frames_left <= grids * per_grid
        if frames_left is not None and last:
            grids = -(-(1 + frames_left) // per_grid)
        block = PendingBlock(grids, grid_tokens, per_grid, label=label)
        # Of blocks that do not fit beside each other, the oldest is encoded first.
        while self.blocks and self.reserved + block.tokens > self.state.cache.budget.tokens:
            self.encode_block(next(iter(self.blocks)))
        self.state.make_room(self.reserved + block.tokens, last=last)
        return block

    def _fit_to_load(self, block: PendingBlock, queued_frames: int) -> None:
        """
        Grow a block while frames are queued, but not beyond what fits without compressing.

        The memory is then compressed exactly when it would be without a queue.
        """
        settings, cameras = self.state.settings, len(self.state.stamps.cameras)
        cache, others = self.state.cache, self.reserved - block.tokens
        fit = (cache.budget.tokens - cache.memory_length - others) // block.grid_tokens
        per_grid = block.frames_per_grid
        usual, most = (
            settings.grids_per_block(block.grid_tokens, cameras, frames, per_grid)
            for frames in (settings.block_size, settings.max_block_frames))
        begun = -(-len(block.frames) // per_grid)
        queued = (len(block.frames) + queued_frames) // per_grid
        block.grids = min(fit, max(usual, begun, min(queued, most)))

    @property
    def reserved(self) -> int:
        """Tokens of the pending blocks and of what a question encodes again, at most."""
        return self._recent_room + self._look_room + sum(
            block.tokens for block in self.blocks.values())

    def encode_block(self, *cameras: str) -> None:
        """Encode pending frames into the memory; if that fails, these frames alone are lost."""
        for camera in cameras:
            block = self.blocks.pop(camera)
            started = time.perf_counter()
            self.state.remember(block)
            self.last_ingest_s = time.perf_counter() - started

    @contextmanager
    def newest_appended(self) -> Iterator[NewestGrids]:
        """
        Write pending and recent frames into the cache; on leaving, the cache is rolled back.

        A pending block whose frames are all recent is written once, as recent frames. Where those
        cannot be encoded, the memory answers without them.

        :return: what was written; once a block that was left out is complete, its frames are
            refused for the same reason.
        """
        checkpoint = self.state.checkpoint()
        try:
            try:
                newest = self._write_newest()
            except FrameError as error:
                self.state.rollback(checkpoint)
                newest = replace(self._write_pending(self.blocks.values()), fault=error)
            yield newest
        finally:
            self.state.rollback(checkpoint)

    def _write_pending(self, blocks: Iterable[PendingBlock]) -> NewestGrids:
        """Write pending blocks into the cache, oldest first."""
        grids: dict[int, list[PendingFrame]] = {}
        fault = None
        for block in sorted(blocks, key=lambda block: block.frames[0].stamp_ns):
            try:
                grids.update(self.state.write_block(block))
            except FrameError as error:
                fault = error
        return NewestGrids(grids, fault=fault)

    def _write_newest(self) -> NewestGrids:
        """
        Write pending and recent frames, as far as there is room for the recent ones.

        :raises FrameError: recent frames cannot be encoded; some may be written.
        """
        cache, pending = self.state.cache, self.blocks.values()
        # A memory that was loaded may leave less room than was planned.
        room = cache.budget.tokens - cache.memory_length - sum(block.tokens for block in pending)
        recent = self._recent_blocks(min(room, self._recent_room))
        again = [grid for _, grids in recent for grid in grids]
        shown = {grid.key for grid in again}
        newest = self._write_pending(
            block for block in pending
            if not all(key_of(frames) in shown for frames in block.by_grid()))
        remembered = {grid for grid, _ in self.state.observations.items()}
        replaced = remembered & {grid.number for grid in again}
        replaced |= {grid for grid, frames in newest.frames.items() if key_of(frames) in shown}
        hook = None
        if replaced:
            # Frames that are encoded again do not see what is left of their first encoding.
            seen = (remembered | newest.frames.keys()) - replaced
            hook = AttentionHook(
                cache.prefix_length, cache.memory_length,
                hidden=hidden_tokens(cache.views(), [*seen]))
        grids = dict(newest.frames)
        for block, own in recent:
            grids.update(self.state.write_block(
                block, hook, [cache.grid_starts.get(grid.number, grid.start) for grid in own]))
        return NewestGrids(grids, replaced, newest.fault)

    def _recent_blocks(self, room: int) -> list[tuple[PendingBlock, list[RecentGrid]]]:
        """Return the recent grids that fit into so many tokens, as blocks."""
        model, label_of = self._model, self.state.label_of
        return make_blocks(
            self.state.recent.newest(model, label_of, room), model.family.FRAMES_PER_GRID,
            label_of, model.grid_tokens)

    @property
    def frames_pending(self) -> int:
        """How many frames wait until their block is complete."""
        return sum(len(block.frames) for block in self.blocks.values())

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest frame remembered, or else pending; 0 if none."""
        oldest = self.state.observations.oldest
        if oldest is not None:
            return oldest.first_ns
        return min((block.frames[0].stamp_ns for block in self.blocks.values()), default=0)

    def debug_state(self) -> DebugState:
        """Return a view of the internals, see ``DebugState``."""
        cache, length = self.state.cache, self.state.cache.get_seq_length()
        filled = (
            (*(buffer[None, :, :length] for buffer in layer.buffers),
             layer.coordinates[:, :cache.memory_length]) for layer in cache.kv_layers)
        return DebugState(
            tensors=tuple(chain.from_iterable(chain(filled, cache.states.tensors()))),
            prefix_length=cache.prefix_length, next_grid=cache.next_grid,
            renumberings=cache.renumberings, grid_runs=len(cache.grid_shapes),
            pending_blocks=len(self.blocks), pending_tokens=self.reserved,
            timeline=self.state.timeline, times=dict(cache.grid_starts),
            last_time=self.state.last_time, camera_shares=dict(self.state.shares))

    # -- saved and restored -------------------------------------------------------------------

    def capture(self) -> MemorySnapshot:
        """Return all that is remembered and pending; keys and values are not copied."""
        return self.state.capture(self.blocks.values())

    def restore(
        self, snapshot: MemorySnapshot, layers: FittedLayers, policy: EvictionPolicy,
    ) -> int:
        """
        Replace all that is remembered and pending by a snapshot of the same model.

        An exception leaves the encoder half restored.

        :param layers: from ``MemoryState.fit``, as is ``policy``.
        :return: pending frames that are lost: too large now, or without room.
        """
        self.state.restore(snapshot, layers, policy)
        # A snapshot has no thumbnails to compare with, though stamps may be equal.
        self._forget_pending()
        lost = self._requeue_pending(snapshot)
        # It may have been saved with more room for positions.
        self.make_position_room()
        return lost

    def _requeue_pending(self, snapshot: MemorySnapshot) -> int:
        """Take over pending blocks, or, where blocks are smaller now, add their frames again."""
        def tokens_of(block: PendingBlock) -> int:
            height, width = block.frames[0].pixels.shape[:2]
            return self._model.grid_tokens(height, width, block.label)

        blocks = [
            replace(
                block, grid_tokens=tokens_of(block), frames=[
                    replace(frame, pixels=frame.pixels.to(self.state.cache.shape.device))
                    for frame in block.frames])
            for block in snapshot.blocks]
        # The largest frame under these settings, which the plan has room for.
        max_tokens = self._model.family.max_visual_tokens(
            self.state.settings.max_pixels) + self._model.family.MAX_GRID_TEXT
        room = self.state.cache.budget.tokens - self.state.cache.memory_length
        if sum(block.tokens for block in blocks) <= room and all(
                block.grid_tokens <= max_tokens
                and block.grids <= self.state.settings.grids_per_block(
                    block.grid_tokens, frames_per_grid=block.frames_per_grid)
                for block in blocks):
            self.blocks = {block.frames[0].camera: block for block in blocks}
            return 0
        for block in blocks:
            for frame in block.frames if block.grid_tokens <= max_tokens else ():
                try:
                    self.add(frame, jumped=False)
                except FrameError:
                    continue
        self.state.stamps = snapshot.stamps.copy()
        taken = self.frames_pending + self.state.frames_encoded - snapshot.frames_encoded
        return sum(len(block.frames) for block in blocks) - taken
