# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Encode frames: pending blocks of frames become keys and values in the cache."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import torch

from infinipot_ros.errors import ConfigurationError, FrameError, MemoryFullError, StorageError
from infinipot_ros.kv_cache.cache import BoundedCache
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.grid_text import GridTextPolicy
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.attention_evidence import hidden_tokens
from infinipot_ros.visual_memory.debug_state import DebugState
from infinipot_ros.visual_memory.duplicate_filter import DuplicateFilter, Thumbnail
from infinipot_ros.visual_memory.frame_store import FrameStore, frames_to_jpeg
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_snapshot import FittedLayers, MemorySnapshot
from infinipot_ros.visual_memory.observations import Observation, Observations
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.plan import PREFIX_ROOM, cache_shape
from infinipot_ros.visual_memory.position_rebase import (
    RENUMBER_AT,
    key_rotation,
    last_time,
    rebase_positions,
    renumber,
)
from infinipot_ros.visual_memory.pseudo_query import template_attention
from infinipot_ros.visual_memory.recent_frames import (
    UNKNOWN,
    NewestGrids,
    RecentFrames,
    RecentGrid,
    key_of,
    make_blocks,
)
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.families.model_family import camera_label
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import SequenceAxis, TemporalAxis, text_positions


class FrameEncoder:
    """
    What is remembered, and the frames that wait to be encoded.

    :ivar looks: jpegs of the frames of remembered grids, for a second look.
    :ivar last_time: the largest position of a grid before positions are re-based.
    """

    def __init__(self, settings: MemoryConfig, model: VisionLanguageModel) -> None:
        self.settings = settings
        self._model = model
        self._prefix = model.prompt.prefix_ids
        self._compact = settings.compact(model.family)
        self.last_time = last_time(model.family, settings, len(self._prefix))
        self.cache = BoundedCache(
            cache_shape(model.shape, settings), settings.make_budget(),
            prefix_room=PREFIX_ROOM, tail_room=settings.tail_room,
            rotation=key_rotation(model, self._compact))
        self.observations = Observations()
        self.thumbnails = Thumbnails(settings.thumbnail_bytes)
        self.recent = RecentFrames(
            settings.recent_grids(model.family), model.family.FRAMES_PER_GRID)
        self._recent_room = settings.recent_tokens(model.family)
        self.look_grids = settings.look_grids(model.family)
        self._look_room = settings.look_tokens(model.family)
        directory = settings.second_look_directory if self.look_grids else ''
        self.looks = Thumbnails(
            settings.second_look_bytes, FrameStore(directory) if directory else None)
        self._duplicates = DuplicateFilter()
        self.reset()

    def reset(self) -> None:
        """Forget everything; buffers and model stay."""
        self._shares: dict[int, float] = {}
        self.policy = self._make_policy(self.settings, self._shares)
        self.cache.clear()
        self.observations.clear()
        self.thumbnails.clear()
        self.looks.clear()
        self.recent.clear()
        self._duplicates.clear()
        self.timeline = self._model.timeline()
        self.stamps = StampOrder()
        self.blocks: dict[str, PendingBlock] = {}
        self.camera_tokens: dict[str, int] = {}
        self.frames_encoded = self.frames_still = 0
        self.last_ingest_s = 0.0
        length = len(self._prefix)
        with self.cache.writing_prefix(length):
            self._model.forward(
                self._model.embed(self._prefix), text_positions(0, length), self.cache)

    def _make_policy(self, settings: MemoryConfig, shares: dict[int, float]) -> EvictionPolicy:
        """
        Build the policy of the settings.

        :param shares: of the budget, of each camera by its number, if the settings declare them.
        :raises ConfigurationError: it needs attention that the model does not show.
        """
        policy = settings.make_policy()
        if policy.needs_attention and not self._model.supports_hook:
            raise ConfigurationError(
                f'policy {settings.policy!r} looks at attention, which attn_implementation '
                f'{settings.attn_implementation} does not show; use sdpa or eager')
        if settings.camera_shares:
            policy = PerSourcePolicy(policy, shares)
        return GridTextPolicy(policy) if self._model.grid_text_tokens() else policy

    def change(self, settings: MemoryConfig) -> None:
        """
        Apply settings that fit the same buffers.

        :raises ConfigurationError: the policy never compresses, as a smaller budget needs; nothing
            was changed.
        :raises FrameError: pending frames could not be encoded and are lost; nothing was changed.
        """
        budget, policy, shares = settings.make_budget(), self.policy, self._shares
        chosen = ('policy', 'tar_ratio', 'recent_ratio', 'cameras', 'camera_shares')
        if any(getattr(settings, name) != getattr(self.settings, name) for name in chosen):
            shares = settings.shares_of(self.stamps.cameras)
            policy = self._make_policy(settings, shares)
        if self.reserved > budget.tokens:
            self.encode_block(*self.blocks)
        try:
            compressed = self.cache.change_budget(
                budget, policy, self.reserved, self._template_attention)
        except MemoryFullError as error:
            raise ConfigurationError(f'the budget stays as it is: {error}') from error
        self._shares = shares
        if compressed:
            self.drop_evicted()
        self.thumbnails.shrink(settings.thumbnail_bytes)
        self.settings, self.policy = settings, policy
        self.count_cameras()

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
        label = self.label_of(frame.camera)
        tokens = self._model.grid_tokens(height, width, label)
        most = self.cache.budget.tokens - self._recent_room - self._look_room
        if tokens > most:
            raise FrameError(
                'too_many_tokens',
                f'one grid of frames encoded at {width}x{height} has {tokens} tokens, the '
                f'budget of {self.cache.budget.tokens} has room for {most}; raise the budget or '
                'lower max_pixels')
        if jumped:
            self.encode_block(*self.blocks)
            self.recent.clear()
        elif frame.camera in self.blocks and not self.blocks[frame.camera].takes(frame.pixels):
            self.encode_block(frame.camera)
        block = self.blocks.get(frame.camera) or self._begin_block(
            frame.camera, tokens, frames_left, label)
        if jumped or not self.stamps.segments:
            self.timeline = self.timeline.new_segment(frame.stamp_ns)
        newcomer = frame.camera not in self.stamps.cameras
        self.stamps.take(frame.camera, frame.stamp_ns, jumped)
        if newcomer:
            self.count_cameras()
        self.blocks[frame.camera] = block
        begins = len(block.frames) % block.frames_per_grid == 0
        block.frames.append(frame)
        if recent is not None:
            self.recent.add(recent, begins=begins)
        self._fit_to_load(block, queued_frames)
        self.make_position_room()
        if block.complete:
            self.encode_block(frame.camera)
        if thumbnail is not None:
            self._duplicates.update(frame.camera, thumbnail, frame.stamp_ns)

    def make_position_room(self) -> None:
        """Re-base positions and renumber grids if pending frames would pass the last one."""
        recent = self._blocks_of(self.recent.newest(
            self._model, self.label_of, self._recent_room))
        blocks = [*self.blocks.values(), *(block for block, _ in recent)]
        if (self.cache.next_grid + self.look_grids
                + sum(block.grids for block in blocks) > RENUMBER_AT):
            renumber(self.cache, self.observations, self.thumbnails, self.looks)
            self.recent.clear()
        # No grid takes more positions than it has tokens.
        steps = self._look_room + sum(
            block.grids * self.timeline.width(
                *self._model.grid_size(*block.frames[0].pixels.shape[:2]),
                self._model.grid_text_tokens(block.label))
            for block in blocks)
        if self.timeline.reach(self.stamps.newest_ns, steps) > self.last_time:
            self._rebase()

    def _rebase(self, *, compact: bool = False) -> None:
        self.recent.forget_starts()
        self.timeline = rebase_positions(
            self.cache, self.timeline, self.stamps.newest_ns, self.last_time,
            self._model.family.MAX_GRID_TEXT if self._several()
            else self._model.grid_text_tokens(), compact=compact)

    def _several(self, *more: str) -> bool:
        """Return whether several cameras are known, with these."""
        return len({*self.settings.cameras, *self.stamps.cameras, *more}) > 1

    def label_of(self, camera: str) -> str:
        """Return what the text of a camera's grids calls it: nothing, if there is no other."""
        return camera_label(camera) if self._several(camera) else ''

    def _fits_recent(self, frame: PendingFrame) -> bool:
        """Return whether a frame has no more visual tokens than were planned for recent ones."""
        height, width = frame.pixels.shape[:2]
        rows, columns = self._model.grid_size(height, width)
        most: int = self._model.family.max_visual_tokens(self.settings.recent_pixels)
        return rows * columns <= most

    def skip_duplicate(
        self, camera: str, thumbnail: Thumbnail, stamp_ns: int, queued_frames: int = 0,
    ) -> bool:
        """
        Extend the time of a camera's last stored frame, if a new one shows the same.

        :param queued_frames: frames of the same camera that follow at once.
        :return: whether it does; false if that frame is no longer remembered.
        """
        until_ns = self._duplicates.find(
            camera, thumbnail, stamp_ns, self.settings.still_likeness,
            round(self.settings.max_still_s * SECOND_NS))
        if not until_ns:
            return False
        block = self.blocks.get(camera)
        if block is not None and block.frames[-1].last_ns == until_ns:
            block.frames[-1] = replace(block.frames[-1], until_ns=stamp_ns)
        elif block is not None or not self.observations.extend(camera, until_ns, stamp_ns):
            return False
        self._duplicates.extend(camera, stamp_ns)
        self.recent.extend(camera, stamp_ns)
        self.stamps.take(camera, stamp_ns, jumped=False)
        self.frames_still += 1
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
        cameras = len({*self.stamps.cameras, camera})
        per_grid = self._model.family.FRAMES_PER_GRID
        grids = self.settings.grids_per_block(grid_tokens, cameras, frames_per_grid=per_grid)
        last = frames_left is not None and 1 + frames_left <= grids * per_grid
        if frames_left is not None and last:
            grids = -(-(1 + frames_left) // per_grid)
        block = PendingBlock(grids, grid_tokens, per_grid, label=label)
        # Of blocks that do not fit beside each other, the oldest is encoded first.
        while self.blocks and self.reserved + block.tokens > self.cache.budget.tokens:
            self.encode_block(next(iter(self.blocks)))
        try:
            compressed = self.cache.make_room(
                self.reserved + block.tokens, self.policy, last=last,
                pseudo_query=self._template_attention)
        except MemoryFullError as error:
            raise FrameError('memory_full', str(error)) from error
        if compressed:
            self.drop_evicted()
        return block

    def _template_attention(self) -> torch.Tensor:
        return template_attention(
            self._model, self.cache, self.timeline.text_start(self.cache.prefix_length))

    def _fit_to_load(self, block: PendingBlock, queued_frames: int) -> None:
        """
        Grow a block while frames are queued, but not beyond what fits without compressing.

        The memory is then compressed exactly when it would be without a queue.
        """
        settings, cameras = self.settings, len(self.stamps.cameras)
        others = self.reserved - block.tokens
        fit = (self.cache.budget.tokens - self.cache.memory_length - others) // block.grid_tokens
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

    def drop_evicted(self) -> None:
        """Follow a compression: forget what has no token left, and close up positions."""
        self._forget_evicted()
        if self.cache.by_slot:
            # The cache has closed up its positions itself.
            self.timeline = self._closed_up()
        elif self._compact:
            self._rebase(compact=True)

    def _forget_evicted(self) -> None:
        grids = self.cache.remembered_grids()
        self.observations.keep(grids)
        self.thumbnails.keep(grids)
        self.looks.keep(grids)
        self.count_cameras()

    def _closed_up(self) -> SequenceAxis:
        """Return the axis of a memory whose tokens have one position each, by slot."""
        assert isinstance(self.timeline, SequenceAxis)
        length = self.cache.memory_length
        return replace(self.timeline, last=min(self.timeline.last, length), end=length)

    def count_cameras(self) -> None:
        """Update each camera's tokens and, by number, its share."""
        self._shares.clear()
        self._shares.update(self.settings.shares_of(self.stamps.cameras))
        counts = self.cache.source_tokens()
        self.camera_tokens = {
            camera: round(counts.get(number, 0.0))
            for number, camera in enumerate(self.stamps.cameras)}

    def encode_block(self, *cameras: str) -> None:
        """Encode pending frames into the memory; if that fails, these frames alone are lost."""
        for camera in cameras:
            block = self.blocks.pop(camera)
            started = time.perf_counter()
            try:
                grids = self.write_block(block)
            except FrameError:
                self.recent.drop(block.frames)
                raise
            self.recent.note_encoded(grids, self.cache.grid_starts)
            # Recorded even if making a thumbnail fails: the cache holds these grids.
            for grid, frames in grids:
                self.observations.add(grid, Observation.of(frames))
            self.frames_encoded += len(block.frames)
            self.count_cameras()
            for grid, frames in grids if self.settings.thumbnail_bytes else ():
                self.thumbnails.add(grid, make_thumbnail(
                    frames[0].pixels, self.settings.thumbnail_side))
            for grid, frames in grids if self.look_grids else ():
                self.looks.add(grid, frames_to_jpeg(frames))
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
        checkpoint, timeline = self.cache.checkpoint(), self.timeline
        try:
            try:
                newest = self._write_newest()
            except FrameError as error:
                self.cache.rollback(checkpoint)
                self.timeline = timeline
                newest = replace(self._write_pending(self.blocks.values()), fault=error)
            yield newest
        finally:
            self.cache.rollback(checkpoint)
            self.timeline = timeline

    def _write_pending(self, blocks: Iterable[PendingBlock]) -> NewestGrids:
        """Write pending blocks into the cache, oldest first."""
        grids: dict[int, list[PendingFrame]] = {}
        fault = None
        for block in sorted(blocks, key=lambda block: block.frames[0].stamp_ns):
            try:
                grids.update(self.write_block(block))
            except FrameError as error:
                fault = error
        return NewestGrids(grids, fault=fault)

    def _write_newest(self) -> NewestGrids:
        """
        Write pending and recent frames, as far as there is room for the recent ones.

        :raises FrameError: recent frames cannot be encoded; some may be written.
        """
        cache, pending = self.cache, self.blocks.values()
        # A memory that was loaded may leave less room than was planned.
        room = cache.budget.tokens - cache.memory_length - sum(block.tokens for block in pending)
        recent = self.recent.newest(self._model, self.label_of, min(room, self._recent_room))
        shown = {grid.key for grid in recent}
        newest = self._write_pending(
            block for block in pending
            if not all(key_of(frames) in shown for frames in block.by_grid()))
        remembered = {grid for grid, _ in self.observations.items()}
        replaced = remembered & {grid.number for grid in recent}
        replaced |= {grid for grid, frames in newest.frames.items() if key_of(frames) in shown}
        hook = None
        if replaced:
            # Frames that are encoded again do not see what is left of their first encoding.
            seen = (remembered | newest.frames.keys()) - replaced
            hook = AttentionHook(
                cache.prefix_length, cache.memory_length,
                hidden=hidden_tokens(cache.views(), [*seen]))
        grids = dict(newest.frames)
        for block, own in self._blocks_of(recent):
            grids.update(self.write_block(
                block, hook, [cache.grid_starts.get(grid.number, grid.start) for grid in own]))
        return NewestGrids(grids, replaced, newest.fault)

    def _blocks_of(
        self, recent: list[RecentGrid],
    ) -> list[tuple[PendingBlock, list[RecentGrid]]]:
        return make_blocks(
            recent, self._model.family.FRAMES_PER_GRID, self.label_of, self._model.grid_tokens)

    def write_block(
        self, waiting: PendingBlock, hook: AttentionHook | None = None,
        again: Sequence[int] = (),
    ) -> list[tuple[int, list[PendingFrame]]]:
        """
        Write a block's keys and values into the cache.

        :param hook: hides what the block is not to attend to.
        :param again: where grids started that are encoded again, ``UNKNOWN`` for others; of
            use on an axis of real time, which grids of the same time share.
        :return: each grid and its frames.
        :raises FrameError: ``overflow``: not finite in this dtype; nothing was written.
        """
        model, cache = self._model, self.cache
        first_grid, grids = cache.next_grid, waiting.by_grid()
        block = model.encode(torch.stack([frame.pixels for frame in waiting.frames]))
        source = self.stamps.number(waiting.frames[0].camera)
        behind = self.cache.newest_start(source) if len(self.stamps.cameras) > 1 else None
        timeline, starts, texts, lengths = self.timeline, [], [], []
        for frames, start in zip(grids, again or [UNKNOWN] * len(grids)):
            texts.append(model.grid_text(
                timeline.seconds([frame.stamp_ns for frame in frames]), waiting.label))
            before, after = map(len, texts[-1])
            lengths.append((before, after))
            if start != UNKNOWN and isinstance(timeline, TemporalAxis):
                starts.append(start)
                timeline = timeline.share(start, block.rows, block.columns)
                continue
            starts.append(timeline.start_of(frames[0].stamp_ns, before, behind))
            timeline = timeline.advance(
                frames[0].stamp_ns, block.rows, block.columns, before, after, behind)
            behind = None if behind is None else starts[-1]
        sequence = model.lay_out(
            block, timeline.grid_positions(
                cache.prefix_length, starts, block.rows, block.columns, lengths), texts)
        with cache.writing_grids(
                len(grids), block.rows, block.columns, source, lengths, starts):
            hidden = model.forward(
                sequence.embeddings, sequence.positions, cache, hook,
                arguments=sequence.arguments)
            # Once stored they would spread to all later frames and answers that attend to them.
            if not bool(hidden.isfinite().all()):
                raise FrameError(
                    'overflow',
                    f"the model's output is not finite in {self.settings.dtype}; set dtype to "
                    'bfloat16 or float32')
        self.timeline = timeline
        return list(enumerate(grids, first_grid))

    @property
    def frames_pending(self) -> int:
        """How many frames wait until their block is complete."""
        return sum(len(block.frames) for block in self.blocks.values())

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest frame remembered, or else pending; 0 if none."""
        oldest = self.observations.oldest
        if oldest is not None:
            return oldest.first_ns
        return min((block.frames[0].stamp_ns for block in self.blocks.values()), default=0)

    def debug_state(self) -> DebugState:
        """Return a view of the internals, see ``DebugState``."""
        cache, length = self.cache, self.cache.get_seq_length()
        filled = (
            (*(buffer[None, :, :length] for buffer in layer.buffers),
             layer.coordinates[:, :cache.memory_length]) for layer in cache.kv_layers)
        return DebugState(
            tensors=tuple(chain.from_iterable(chain(filled, cache.states.tensors()))),
            prefix_length=cache.prefix_length, next_grid=cache.next_grid,
            renumberings=cache.renumberings, grid_runs=len(cache.grid_shapes),
            pending_blocks=len(self.blocks), pending_tokens=self.reserved,
            timeline=self.timeline, times=dict(cache.grid_starts),
            last_time=self.last_time, camera_shares=dict(self._shares))

    # -- saved and restored -------------------------------------------------------------------

    def capture(self) -> MemorySnapshot:
        """Return all that is remembered and pending; keys and values are not copied."""
        cache, digest = self.cache, hashlib.sha256(','.join(map(str, self._prefix)).encode())
        return MemorySnapshot(
            fingerprint=self._model.fingerprint, prefix_digest=digest.hexdigest(),
            policy=self.settings.policy, policy_state=self.policy.state(), views=cache.views(),
            shapes=cache.grid_shapes.snapshot(), next_grid=cache.next_grid,
            compressions=cache.compressions, rebases=cache.rebases, timeline=self.timeline,
            frames_encoded=self.frames_encoded, stamps=self.stamps.copy(),
            observations=dict(self.observations.items()), times=dict(cache.grid_starts),
            blocks=[replace(block, frames=[*block.frames]) for block in self.blocks.values()],
            thumbnails=self.thumbnails.items(), recent=self.recent.items(),
            states=cache.states.tensors())

    def fit(self, snapshot: MemorySnapshot) -> tuple[FittedLayers, EvictionPolicy]:
        """
        Choose what of a snapshot fits; nothing is changed yet.

        :return: the visual tokens, and the policy to go on with.
        :raises StorageError: it does not fit.
        """
        settings = self.settings
        if snapshot.tokens and bool(snapshot.times) == self.cache.by_slot:
            here, there = ('compact', 'absolute') if self.cache.by_slot else (
                'absolute', 'compact')
            raise StorageError(
                f'it was saved with positions {there}, this memory counts them {here}; set '
                f'positions to {there} to load it')
        here, there = self.settings.kv_dtype, snapshot.kv_dtype
        if snapshot.tokens and here != there:
            raise StorageError(
                f'it was saved with kv_dtype {there!r}, this memory has {here!r}, and converting '
                f'would lose precision unseen; set kv_dtype to {there!r} to load it')
        # The snapshot numbers cameras its own way.
        shares = settings.shares_of(snapshot.stamps.cameras)
        chooser = self._make_policy(settings, shares)
        if snapshot.policy == settings.policy:
            try:
                chooser.restore(snapshot.policy_state)
            except ConfigurationError as error:
                raise StorageError(f'the state of its policy is invalid: {error}') from error
        layers = snapshot.fit(self.cache, chooser)
        policy = self._make_policy(settings, self._shares)
        policy.restore(chooser.state())
        return layers, policy

    def restore(
        self, snapshot: MemorySnapshot, layers: FittedLayers, policy: EvictionPolicy,
    ) -> int:
        """
        Replace all that is remembered and pending by a snapshot of the same model.

        An exception leaves the encoder half restored.

        :param layers: from ``fit``, as is ``policy``.
        :return: pending frames that are lost: too large now, or without room.
        """
        self.cache.restore(
            layers, layers.tokens, next_grid=snapshot.next_grid,
            compressions=snapshot.compressions + layers.compressed, rebases=snapshot.rebases,
            shapes=snapshot.shapes, starts=snapshot.times, states=snapshot.states)
        self.policy, self.timeline, self.stamps = policy, snapshot.timeline, snapshot.stamps.copy()
        self.frames_encoded, self.frames_still = snapshot.frames_encoded, 0
        self.observations.restore(snapshot.observations)
        self.thumbnails.restore(snapshot.thumbnails)
        self.looks.clear()
        # A snapshot has no thumbnails to compare with, though stamps may be equal.
        self._duplicates.clear()
        self.recent.restore(
            replace(grid, frames=[
                replace(frame, pixels=frame.pixels.to(self.cache.shape.device))
                for frame in grid.frames])
            for grid in snapshot.recent if self._fits_recent(grid.frames[0]))
        if layers.compressed:
            self.drop_evicted()
        else:
            # Positions stay as they are, in real time since the last compression.
            self._forget_evicted()
        lost = self._requeue_pending(snapshot)
        # It may have been saved with more room for positions.
        self.make_position_room()
        return lost

    def _requeue_pending(self, snapshot: MemorySnapshot) -> int:
        """Take over pending blocks, or, where blocks are smaller now, add their frames again."""
        self.blocks = {}

        def tokens_of(block: PendingBlock) -> int:
            height, width = block.frames[0].pixels.shape[:2]
            return self._model.grid_tokens(height, width, block.label)

        blocks = [
            replace(
                block, grid_tokens=tokens_of(block), frames=[
                    replace(frame, pixels=frame.pixels.to(self.cache.shape.device))
                    for frame in block.frames])
            for block in snapshot.blocks]
        # The largest frame under these settings, which the plan has room for.
        max_tokens = self._model.family.max_visual_tokens(
            self.settings.max_pixels) + self._model.family.MAX_GRID_TEXT
        room = self.cache.budget.tokens - self.cache.memory_length
        if sum(block.tokens for block in blocks) <= room and all(
                block.grid_tokens <= max_tokens
                and block.grids <= self.settings.grids_per_block(
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
        self.stamps = snapshot.stamps.copy()
        taken = self.frames_pending + self.frames_encoded - snapshot.frames_encoded
        return sum(len(block.frames) for block in blocks) - taken
