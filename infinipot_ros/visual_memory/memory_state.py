# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered: keys and values, and what is known of the frames they were made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from infinipot_ros.errors import ConfigurationError, FrameError, MemoryFullError, StorageError
from infinipot_ros.kv_cache.cache import BoundedCache, CacheCheckpoint
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.grid_text import GridTextPolicy
from infinipot_ros.kv_cache.policies.per_source import PerSourcePolicy
from infinipot_ros.visual_memory.frame_store import FrameStore, frames_to_jpeg
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.memory_snapshot import FittedLayers, MemorySnapshot
from infinipot_ros.visual_memory.observations import Observation, Observations
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.plan import PREFIX_ROOM, cache_shape
from infinipot_ros.visual_memory.position_rebase import (
    key_rotation,
    last_time,
    rebase_positions,
    renumber,
)
from infinipot_ros.visual_memory.pseudo_query import template_attention
from infinipot_ros.visual_memory.recent_frames import UNKNOWN, RecentFrames
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.visual_memory.thumbnails import Thumbnails, make_thumbnail
from infinipot_ros.vlm.attention_hook import AttentionHook
from infinipot_ros.vlm.families.model_family import camera_label
from infinipot_ros.vlm.model import VisionLanguageModel
from infinipot_ros.vlm.positions import SequenceAxis, TemporalAxis, Timeline, text_positions


class MemoryState:
    """
    All that is remembered; frames that wait to be encoded are the ``FrameEncoder``'s.

    :ivar looks: jpegs of the frames of remembered grids, for a second look.
    :ivar last_time: the largest position of a grid before positions are re-based.
    :ivar shares: of the budget, of each camera by its number, if the settings declare them.
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
        self.look_grids = settings.look_grids(model.family)
        directory = settings.second_look_directory if self.look_grids else ''
        self.looks = Thumbnails(
            settings.second_look_bytes, FrameStore(directory) if directory else None)
        self.clear()

    def clear(self) -> None:
        """Forget everything; buffers and model stay."""
        self.shares: dict[int, float] = {}
        self.policy = self._make_policy(self.settings, self.shares)
        self.cache.clear()
        self.observations.clear()
        self.thumbnails.clear()
        self.looks.clear()
        self.recent.clear()
        self.timeline = self._model.timeline()
        self.stamps = StampOrder()
        self.camera_tokens: dict[str, int] = {}
        self.frames_encoded = 0
        length = len(self._prefix)
        with self.cache.writing_prefix(length):
            self._model.forward(
                self._model.embed(self._prefix), text_positions(0, length), self.cache)

    def _make_policy(self, settings: MemoryConfig, shares: dict[int, float]) -> EvictionPolicy:
        """
        Build the policy of the settings.

        :param shares: of each camera by its number, see ``shares``.
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

    def policy_for(self, settings: MemoryConfig) -> tuple[EvictionPolicy, dict[int, float]]:
        """
        Return the policy and the cameras' shares of other settings; the present ones if alike.

        :raises ConfigurationError: as for settings of a new memory.
        """
        chosen = ('policy', 'tar_ratio', 'recent_ratio', 'cameras', 'camera_shares')
        if all(getattr(settings, name) == getattr(self.settings, name) for name in chosen):
            return self.policy, self.shares
        shares = settings.shares_of(self.stamps.cameras)
        return self._make_policy(settings, shares), shares

    def change(
        self, settings: MemoryConfig, policy: EvictionPolicy, shares: dict[int, float],
        reserved: int,
    ) -> None:
        """
        Apply settings that fit the same buffers.

        :param policy: from ``policy_for``, as are ``shares``.
        :param reserved: tokens that must stay free.
        :raises ConfigurationError: the policy never compresses, as a smaller budget needs; nothing
            was changed.
        """
        try:
            compressed = self.cache.change_budget(
                settings.make_budget(), policy, reserved, self._template_attention)
        except MemoryFullError as error:
            raise ConfigurationError(f'the budget stays as it is: {error}') from error
        self.shares = shares
        if compressed:
            self._drop_evicted()
        self.thumbnails.shrink(settings.thumbnail_bytes)
        self.settings, self.policy = settings, policy
        self._count_cameras()

    def take_stamp(self, camera: str, stamp_ns: int, *, jumped: bool) -> None:
        """
        Note the stamp of a frame that is taken, or of a duplicate.

        :param jumped: whether the clock jumped, see ``StampOrder.check``.
        """
        if jumped or not self.stamps.segments:
            self.timeline = self.timeline.new_segment(stamp_ns)
        newcomer = camera not in self.stamps.cameras
        self.stamps.take(camera, stamp_ns, jumped)
        if newcomer:
            self._count_cameras()

    def label_of(self, camera: str) -> str:
        """Return what the text of a camera's grids calls it: nothing, if there is no other."""
        return camera_label(camera) if self._several(camera) else ''

    def _several(self, *more: str) -> bool:
        """Return whether several cameras are known, with these."""
        return len({*self.settings.cameras, *self.stamps.cameras, *more}) > 1

    # -- room ---------------------------------------------------------------------------------

    def make_room(self, tokens: int, *, last: bool) -> None:
        """
        Compress, if there is no room for so many tokens.

        :param last: whether nothing follows them, so that no more is evicted than they need.
        :raises FrameError: ``memory_full``: the policy never compresses.
        """
        try:
            compressed = self.cache.make_room(
                tokens, self.policy, last=last, pseudo_query=self._template_attention)
        except MemoryFullError as error:
            raise FrameError('memory_full', str(error)) from error
        if compressed:
            self._drop_evicted()

    def renumber(self) -> None:
        """Number remembered grids from 0 again."""
        renumber(self.cache, self.observations, self.thumbnails, self.looks)
        self.recent.clear()

    def rebase(self, *, compact: bool = False) -> None:
        """
        Move positions down, so that the next grids stay below the last one.

        :param compact: whether to close up what evicted grids left.
        """
        self.recent.forget_starts()
        self.timeline = rebase_positions(
            self.cache, self.timeline, self.stamps.newest_ns, self.last_time,
            self._model.family.MAX_GRID_TEXT if self._several()
            else self._model.grid_text_tokens(), compact=compact)

    def _template_attention(self) -> torch.Tensor:
        return template_attention(
            self._model, self.cache, self.timeline.text_start(self.cache.prefix_length))

    def _drop_evicted(self) -> None:
        """Follow a compression: forget what has no token left, and close up positions."""
        self._forget_evicted()
        if self.cache.by_slot:
            # The cache has closed up its positions itself.
            self.timeline = self._closed_up()
        elif self._compact:
            self.rebase(compact=True)

    def _forget_evicted(self) -> None:
        grids = self.cache.remembered_grids()
        self.observations.keep(grids)
        self.thumbnails.keep(grids)
        self.looks.keep(grids)
        self._count_cameras()

    def _closed_up(self) -> SequenceAxis:
        """Return the axis of a memory whose tokens have one position each, by slot."""
        assert isinstance(self.timeline, SequenceAxis)
        length = self.cache.memory_length
        return replace(self.timeline, last=min(self.timeline.last, length), end=length)

    def _count_cameras(self) -> None:
        """Update each camera's tokens and, by number, its share."""
        self.shares.clear()
        self.shares.update(self.settings.shares_of(self.stamps.cameras))
        counts = self.cache.source_tokens()
        self.camera_tokens = {
            camera: round(counts.get(number, 0.0))
            for number, camera in enumerate(self.stamps.cameras)}

    # -- grids in -----------------------------------------------------------------------------

    def remember(self, block: PendingBlock) -> None:
        """
        Encode a block's frames into the memory.

        :raises FrameError: these frames alone are lost.
        """
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
        self._count_cameras()
        for grid, frames in grids if self.settings.thumbnail_bytes else ():
            self.thumbnails.add(grid, make_thumbnail(
                frames[0].pixels, self.settings.thumbnail_side))
        for grid, frames in grids if self.look_grids else ():
            self.looks.add(grid, frames_to_jpeg(frames))

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

    def checkpoint(self) -> tuple[CacheCheckpoint, Timeline]:
        """Return what ``rollback`` takes to remove grids that are written from now on."""
        return self.cache.checkpoint(), self.timeline

    def rollback(self, checkpoint: tuple[CacheCheckpoint, Timeline]) -> None:
        """Remove the grids written since."""
        self.cache.rollback(checkpoint[0])
        self.timeline = checkpoint[1]

    # -- saved and restored -------------------------------------------------------------------

    def capture(self, blocks: Iterable[PendingBlock]) -> MemorySnapshot:
        """
        Return all that is remembered; keys and values are not copied.

        :param blocks: pending ones, to be saved with it.
        """
        cache, digest = self.cache, hashlib.sha256(','.join(map(str, self._prefix)).encode())
        return MemorySnapshot(
            fingerprint=self._model.fingerprint, prefix_digest=digest.hexdigest(),
            policy=self.settings.policy, policy_state=self.policy.state(), views=cache.views(),
            shapes=cache.grid_shapes.snapshot(), next_grid=cache.next_grid,
            compressions=cache.compressions, rebases=cache.rebases, timeline=self.timeline,
            frames_encoded=self.frames_encoded, stamps=self.stamps.copy(),
            observations=dict(self.observations.items()), times=dict(cache.grid_starts),
            blocks=[replace(block, frames=[*block.frames]) for block in blocks],
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
        policy = self._make_policy(settings, self.shares)
        policy.restore(chooser.state())
        return layers, policy

    def restore(
        self, snapshot: MemorySnapshot, layers: FittedLayers, policy: EvictionPolicy,
    ) -> None:
        """
        Replace all that is remembered by a snapshot of the same model, but its pending frames.

        An exception leaves the state half restored.

        :param layers: from ``fit``, as is ``policy``.
        """
        self.cache.restore(
            layers, layers.tokens, next_grid=snapshot.next_grid,
            compressions=snapshot.compressions + layers.compressed, rebases=snapshot.rebases,
            shapes=snapshot.shapes, starts=snapshot.times, states=snapshot.states)
        self.policy, self.timeline, self.stamps = policy, snapshot.timeline, snapshot.stamps.copy()
        self.frames_encoded = snapshot.frames_encoded
        self.observations.restore(snapshot.observations)
        self.thumbnails.restore(snapshot.thumbnails)
        self.looks.clear()
        self.recent.restore(
            replace(grid, frames=[
                replace(frame, pixels=frame.pixels.to(self.cache.shape.device))
                for frame in grid.frames])
            for grid in snapshot.recent if self._fits_recent(grid.frames[0]))
        if layers.compressed:
            self._drop_evicted()
        else:
            # Positions stay as they are, in real time since the last compression.
            self._forget_evicted()

    def _fits_recent(self, frame: PendingFrame) -> bool:
        """Return whether a frame has no more visual tokens than were planned for recent ones."""
        height, width = frame.pixels.shape[:2]
        rows, columns = self._model.grid_size(height, width)
        most: int = self._model.family.max_visual_tokens(self.settings.recent_pixels)
        return rows * columns <= most
