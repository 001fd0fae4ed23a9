# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All a memory is at one moment, as it is saved and taken in again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from infinipot_ros.errors import ConfigurationError, FrameError, StorageError
from infinipot_ros.kv_cache.coordinates import Runs
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.visual_memory.frame_encoder import FrameEncoder, divide
from infinipot_ros.visual_memory.layer_fitting import FittedLayers, fit_layers
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock
from infinipot_ros.visual_memory.plan import grids_per_block
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.vlm.fingerprint import ModelFingerprint
from infinipot_ros.vlm.model import QwenVL
from infinipot_ros.vlm.positions import TemporalAxis
from infinipot_ros.vlm.prompt import prefix_ids


@dataclass(frozen=True)
class MemorySnapshot:
    """
    What an ``VisualMemory`` holds, besides its settings and buffers.

    :param fingerprint: the model whose keys and values these are.
    :param prefix_digest: tells the prefix tokens they stand behind.
    :param policy: name of the policy that chose them; ``policy_state``, what it learned.
    :param views: the visual tokens, layer by layer; of a living memory, not a copy.
    :param stamps: the newest stamp of each camera, and how often a clock jumped.
    :param times: where each observation stands on the temporal axis, by grid.
    :param blocks: frames that wait until their block is complete, as they are encoded in turn.
    :param thumbnails: jpegs by grid, oldest first.
    """

    fingerprint: ModelFingerprint
    prefix_digest: str
    policy: str
    policy_state: dict[str, Any]
    views: list[LayerView]
    shapes: Runs
    next_grid: int
    compressions: int
    rebases: int
    timeline: TemporalAxis
    frames_encoded: int
    stamps: StampOrder
    observations: dict[int, Observation]
    times: dict[int, int]
    blocks: list[PendingBlock]
    thumbnails: list[tuple[int, bytes]]

    @property
    def tokens(self) -> int:
        """Visual tokens a layer and KV head holds."""
        return self.views[0].keys.shape[1]


def digest_tokens(ids: list[int]) -> str:
    """Give the SHA-256 of token ids, as hexadecimal text."""
    return hashlib.sha256(','.join(map(str, ids)).encode()).hexdigest()


def capture(encoder: FrameEncoder, model: QwenVL) -> MemorySnapshot:
    """Describe a living memory; keys and values are not copied."""
    cache = encoder.cache
    return MemorySnapshot(
        fingerprint=model.fingerprint, prefix_digest=digest_tokens(prefix_ids(model.tokenizer)),
        policy=encoder.settings.policy, policy_state=encoder.policy.state(), views=cache.views(),
        shapes=cache.grid_shapes.snapshot(), next_grid=cache.next_grid,
        compressions=cache.compressions, rebases=cache.rebases, timeline=encoder.timeline,
        frames_encoded=encoder.frames_encoded, stamps=_copy(encoder.stamps),
        observations=dict(encoder.observations.items()), times=dict(encoder.observations.times),
        blocks=[replace(block, frames=[*block.frames]) for block in encoder.blocks.values()],
        thumbnails=encoder.thumbnails.items())


def check_model(saved: MemorySnapshot, present: MemorySnapshot) -> None:
    """:raises StorageError: keys and values of one mean nothing to the other."""
    difference = saved.fingerprint.difference(present.fingerprint)
    if difference:
        raise StorageError(
            f'it was saved with another model: {difference}; load it with the model that saw it')
    if saved.prefix_digest != present.prefix_digest:
        raise StorageError(
            'it was saved behind another system prompt or tokenizer; load it with the same')


def fit(encoder: FrameEncoder, state: MemorySnapshot) -> tuple[FittedLayers, EvictionPolicy]:
    """
    Find what of a state a memory can hold, compressed where the budget asks for it.

    :param state: of the same model and prefix.
    :return: for ``restore``; nothing was changed yet.
    :raises StorageError: it does not fit.
    """
    settings, cache = encoder.settings, encoder.cache
    # The cameras' shares by the numbers they have in the file, which are not yet ours.
    chooser = divide(
        settings.make_policy(), settings, settings.shares_of(state.stamps.cameras))
    if state.policy == settings.policy:
        try:
            chooser.restore(state.policy_state)
        except ConfigurationError as error:
            raise StorageError(f'what the policy learned is not in order: {error}') from error
    layers = fit_layers(state.views, cache.shape, cache.budget, chooser)
    policy = encoder.make_policy(settings)
    policy.restore(chooser.state())
    return layers, policy


def restore(
    encoder: FrameEncoder, state: MemorySnapshot, layers: FittedLayers, policy: EvictionPolicy
) -> int:
    """
    Remember what a state holds instead.

    :param layers: what ``fit`` gave for it, as is ``policy``.
    :return: frames that waited for their block and are lost: too large now, or without room.
    """
    encoder.cache.restore(
        layers, layers.tokens, next_grid=state.next_grid,
        compressions=state.compressions + layers.compressed, rebases=state.rebases,
        shapes=state.shapes)
    encoder.policy, encoder.timeline, encoder.stamps = policy, state.timeline, _copy(state.stamps)
    encoder.frames_encoded, encoder.frames_still = state.frames_encoded, 0
    encoder.observations.restore(state.observations, state.times)
    encoder.thumbnails.restore(state.thumbnails)
    encoder.drop_evicted()
    lost = _requeue_pending(encoder, state)
    # It may come from where more positions were free.
    encoder.make_position_room()
    return lost


def _requeue_pending(encoder: FrameEncoder, state: MemorySnapshot) -> int:
    """Let frames wait for their block as before, or, where blocks are smaller now, anew."""
    settings, device, encoder.blocks = encoder.settings, encoder.cache.shape.device, {}
    blocks = [
        replace(block, frames=[
            replace(frame, pixels=frame.pixels.to(device)) for frame in block.frames])
        for block in state.blocks]
    # As many as a frame may come to under these settings, for which the plan has room.
    most_tokens = settings.max_pixels // state.fingerprint.pixels_per_token
    room = encoder.cache.budget.tokens - encoder.cache.memory_length
    if sum(block.tokens for block in blocks) <= room and all(
            block.grid_tokens <= most_tokens
            and block.grids <= grids_per_block(settings, block.grid_tokens)
            for block in blocks):
        encoder.blocks = {block.frames[0].camera: block for block in blocks}
        return 0
    for block in blocks:
        for frame in block.frames if block.grid_tokens <= most_tokens else ():
            try:
                encoder.add(frame, jumped=False)
            except FrameError:
                continue
    encoder.stamps = _copy(state.stamps)
    taken = encoder.frames_pending + encoder.frames_encoded - state.frames_encoded
    return sum(len(block.frames) for block in blocks) - taken


def _copy(stamps: StampOrder) -> StampOrder:
    return replace(stamps, cameras=dict(stamps.cameras))
