# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A memory's state as numbers and JSON, and back, with every value looked at on the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infinipot_ros.errors import StorageError
from infinipot_ros.kv_cache.budget import COORDINATE_AXES
from infinipot_ros.kv_cache.coordinates import GridShapes
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.visual_memory.memory_state import MemorySnapshot
from infinipot_ros.visual_memory.observation_table import (
    from_columns,
    read_times,
    times_of_version_1,
    to_columns,
)
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.snapshot_facts import MAX_SIDE, SnapshotFacts, read_facts
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.vlm.fingerprint import ModelFingerprint
from infinipot_ros.vlm.loading import DTYPES
from infinipot_ros.vlm.positions import TemporalAxis


def to_file(state: MemorySnapshot) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give what ``snapshot_file`` writes: facts and tensors; keys and values are not copied."""
    grids = sorted(state.observations)
    seen, facts_seen = to_columns([state.observations[grid] for grid in grids])
    frames = [frame for block in state.blocks for frame in block.frames]
    waiting, facts_waiting = to_columns([Observation.of([frame]) for frame in frames])
    starts, shapes = state.shapes
    facts = {
        'model': state.fingerprint.layout, 'dtype': _name(state.fingerprint.dtype),
        'prefix_sha256': state.prefix_digest, 'policy': state.policy,
        'policy_state': state.policy_state, 'tokens': state.tokens,
        'next_grid': state.next_grid, 'compressions': state.compressions,
        'rebases': state.rebases,
        'shapes': [[start, *shape] for start, shape in zip(starts, shapes, strict=True)],
        'timeline': asdict(state.timeline), 'frames_encoded': state.frames_encoded,
        'newest_ns': state.stamps.newest_ns, 'segments': state.stamps.segments,
        'cameras': [[name, *newest] for name, newest in state.stamps.cameras.items()],
        'observations': facts_seen, 'pending': facts_waiting,
        'blocks': [[block.grids, len(block.frames)] for block in state.blocks]}
    tensors = {
        'weights': state.fingerprint.sample, 'grids': _integers(grids),
        'times': _integers([state.times[grid] for grid in grids])}
    for view in state.views:
        tensors[f'layers.{view.layer}.keys'] = view.keys
        tensors[f'layers.{view.layer}.values'] = view.values
        tensors[f'layers.{view.layer}.coordinates'] = view.coordinates
    tensors |= {f'observations.{name}': column for name, column in seen.items()}
    tensors |= {f'pending.{name}': column for name, column in waiting.items()}
    tensors |= {
        f'pending.{index}.pixels': frame.pixels for index, frame in enumerate(frames)}
    jpegs = [jpeg for _, jpeg in state.thumbnails]
    tensors['thumbnails.grids'] = _integers([grid for grid, _ in state.thumbnails])
    tensors['thumbnails.sizes'] = _integers([len(jpeg) for jpeg in jpegs])
    tensors['thumbnails.jpegs'] = torch.from_numpy(
        np.frombuffer(b''.join(jpegs), np.uint8).copy())
    return facts, tensors


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _integers(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def from_file(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MemorySnapshot:
    """
    Read a state back; its keys and values stay where they are.

    :raises StorageError: a value that no memory has, or a missing one.
    """
    try:
        return _read(read_facts(facts), tensors)
    except StorageError:
        raise
    except Exception as error:
        # Of another type, or of another shape. What this fails to foresee is a refusal, too.
        raise StorageError(f'{type(error).__name__}: {error}') from error


def _read(facts: SnapshotFacts, tensors: Mapping[str, Tensor]) -> MemorySnapshot:
    fingerprint = _read_identity(facts, tensors['weights'])
    observations = from_columns(_named(tensors, 'observations.'), facts.observations.names)
    grids = _read_integers(tensors['grids'])
    ascend = all(a < b for a, b in pairwise([-1, *grids, facts.next_grid]))
    if not ascend or len(grids) != len(observations):
        raise StorageError('its observations are not those of its grids')
    timeline = TemporalAxis(**facts.timeline.model_dump(by_alias=True))
    if 'times' in tensors:
        times = read_times(tensors['times'], timeline)
    else:
        times = times_of_version_1(grids, observations, facts.next_grid, timeline)
    shapes = GridShapes()
    shapes.restore((
        tuple(start for start, *_ in facts.shapes),
        tuple((rows, columns, camera) for _, rows, columns, camera in facts.shapes)))
    views = _read_views(facts, tensors, shapes)
    for view in views:
        _check_coordinates(view, tensors['grids'])
    return MemorySnapshot(
        fingerprint=fingerprint, prefix_digest=facts.prefix_sha256, policy=facts.policy,
        policy_state=facts.policy_state, views=views, shapes=shapes.snapshot(),
        next_grid=facts.next_grid, compressions=facts.compressions, rebases=facts.rebases,
        timeline=timeline, frames_encoded=facts.frames_encoded,
        stamps=StampOrder(facts.newest_ns, facts.segments, {
            name: (segment, newest_ns) for name, segment, newest_ns in facts.cameras}),
        observations=dict(zip(grids, observations, strict=True)),
        times=dict(zip(grids, times, strict=True)),
        blocks=_read_blocks(facts, tensors, fingerprint),
        thumbnails=_read_thumbnails(tensors, facts.next_grid))


def _read_integers(column: Tensor) -> list[int]:
    if column.dtype != torch.int64 or column.ndim != 1:
        raise StorageError(f'a column of numbers is {column.dtype} {[*column.shape]}')
    numbers: list[int] = column.tolist()
    return numbers


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor for name, tensor in tensors.items()
        if name.startswith(prefix)}


def _read_identity(facts: SnapshotFacts, sample: Tensor) -> ModelFingerprint:
    if sample.dtype != torch.float32 or sample.ndim != 1:
        raise StorageError('it does not say which model saw it')
    layout = facts.model.model_dump(by_alias=True, exclude_unset=True)
    return ModelFingerprint(layout, sample, DTYPES[facts.dtype])


def _read_views(
    facts: SnapshotFacts, tensors: Mapping[str, Tensor], shapes: GridShapes,
) -> list[LayerView]:
    layers, size = facts.model.layers, (facts.model.kv_heads, facts.tokens)
    wide = *size, facts.model.head_dim
    dtype = tensors['layers.0.keys'].dtype
    views = []
    for layer in range(layers):
        keys, values, coordinates = (
            tensors[f'layers.{layer}.{name}'] for name in ('keys', 'values', 'coordinates'))
        if keys.shape != wide or values.shape != wide or coordinates.shape != (
                *size, COORDINATE_AXES):
            raise StorageError(f'layer {layer} has keys of {[*keys.shape]}, not {[*wide]}')
        if dtype not in DTYPES.values() or {keys.dtype, values.dtype} != {dtype} or (
                coordinates.dtype != torch.int32):
            raise StorageError(f'layer {layer} has keys of {keys.dtype}')
        if not all(bool(numbers.isfinite().all()) for numbers in (keys, values)):
            raise StorageError(f'layer {layer} is not finite')
        views.append(LayerView(keys, values, coordinates, layer, layers, shapes))
    return views


def _check_coordinates(view: LayerView, known_grids: Tensor) -> None:
    """:raises StorageError: a token of no grid, outside its grid, twice there or out of order."""
    grid, row, column = view.coordinates.long().unbind(-1)
    if not grid.numel():
        return
    if not bool(torch.isin(grid, known_grids).all()):
        raise StorageError(f'layer {view.layer} has tokens of grids that nobody observed')
    rows, columns, _ = view.shapes.lookup(grid)
    first = view.shapes.snapshot()[0][0]
    outside = (grid < first) | (row < 0) | (row >= rows) | (column < 0) | (column >= columns)
    place = (grid * MAX_SIDE + row) * MAX_SIDE + column
    if bool(outside.any()) or bool((place.diff(dim=-1) <= 0).any()):
        raise StorageError(f'layer {view.layer} has tokens outside their grid or out of order')


def _read_blocks(
    facts: SnapshotFacts, tensors: Mapping[str, Tensor], fingerprint: ModelFingerprint,
) -> list[PendingBlock]:
    columns = {
        name: column for name, column in _named(tensors, 'pending.').items() if '.' not in name}
    frames = [
        PendingFrame(_read_pixels(tensors[f'pending.{index}.pixels'], fingerprint), seen.first_ns,
                     seen.camera, seen.pose, seen.last_ns)
        for index, seen in enumerate(from_columns(columns, facts.pending.names))]
    known = {name for name, *_ in facts.cameras}
    blocks: dict[str, PendingBlock] = {}
    for grids, count in facts.blocks:
        own, frames = frames[:count], frames[count:]
        if len(own) < count:
            raise StorageError(f'a block has {len(own)} of its {count} frames')
        camera, height, width = own[0].camera, *own[0].pixels.shape[:2]
        block = PendingBlock(grids, height * width // fingerprint.pixels_per_token, own)
        alike = all(block.takes(frame.pixels) and frame.camera == camera for frame in own)
        if not alike or block.complete or camera in blocks or camera not in known:
            raise StorageError('frames wait that make no block')
        blocks[camera] = block
    if frames:
        raise StorageError('a frame waits for no block')
    return list(blocks.values())


def _read_pixels(pixels: Tensor, fingerprint: ModelFingerprint) -> Tensor:
    side = math.isqrt(fingerprint.pixels_per_token)
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or any(
            not edge or edge % side for edge in pixels.shape[:2]):
        raise StorageError(f'a frame is {pixels.dtype} {[*pixels.shape]}')
    # What waits outlives the file.
    return pixels.clone()


def _read_thumbnails(tensors: Mapping[str, Tensor], next_grid: int) -> list[tuple[int, bytes]]:
    grids, sizes = (_read_integers(tensors[f'thumbnails.{name}']) for name in ('grids', 'sizes'))
    jpegs = tensors['thumbnails.jpegs']
    if len(grids) != len(sizes) or jpegs.dtype != torch.uint8 or jpegs.shape != (sum(sizes),):
        raise StorageError('its thumbnails are not those of its grids')
    if any(not 0 <= grid < next_grid for grid in grids) or any(size < 0 for size in sizes):
        raise StorageError('a thumbnail is of no grid')
    data = jpegs.numpy().tobytes()
    ends = list(accumulate(sizes))
    return [
        (grid, data[end - size:end]) for grid, size, end in zip(grids, sizes, ends, strict=True)]
