# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Convert a memory snapshot to JSON facts and tensors, and back, checking every value.

Observations, of which there may be thousands, are columns of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from infinipot_ros.errors import StorageError
from infinipot_ros.kv_cache.budget import COORDINATE_AXES
from infinipot_ros.kv_cache.coordinates import AFTER, MAX_SIDE, GridShapes, text_tokens
from infinipot_ros.kv_cache.layer_view import LayerView
from infinipot_ros.kv_cache.quantized_vectors import (
    NAMES,
    SCALE_DTYPE,
    QuantizedVectors,
    scales_of,
)
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_snapshot import MemorySnapshot
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingBlock, PendingFrame
from infinipot_ros.visual_memory.recent_frames import RecentGrid
from infinipot_ros.visual_memory.snapshot_schema import (
    MAX_STAMP_NS,
    ModelLayout,
    SnapshotFacts,
    TimelineFacts,
    read_facts,
)
from infinipot_ros.visual_memory.stamps import StampOrder
from infinipot_ros.vlm.families.model_family import camera_label
from infinipot_ros.vlm.fingerprint import ModelFingerprint
from infinipot_ros.vlm.loading import DTYPES
from infinipot_ros.vlm.positions import SequenceAxis, TemporalAxis, Timeline

POSE = ('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw')
COVARIANCE = 36
POSE_NUMBERS = len(POSE) + COVARIANCE
NO_FRAME = -1


# -- written ----------------------------------------------------------------------------------


def to_file(snapshot: MemorySnapshot) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the facts and tensors of a snapshot; keys and values are not copied."""
    grids = sorted(snapshot.observations)
    seen, seen_names = _to_columns([snapshot.observations[grid] for grid in grids])
    pending, pending_names = _frames_to_file(
        'pending', [frame for block in snapshot.blocks for frame in block.frames])
    facts = {
        'model': snapshot.fingerprint.layout,
        'dtype': str(snapshot.fingerprint.dtype).removeprefix('torch.'),
        'prefix_sha256': snapshot.prefix_digest, 'policy': snapshot.policy,
        'policy_state': snapshot.policy_state, 'tokens': snapshot.tokens,
        'next_grid': snapshot.next_grid, 'compressions': snapshot.compressions,
        'rebases': snapshot.rebases,
        'shapes': [[start, *shape] for start, shape in zip(*snapshot.shapes, strict=True)],
        'timeline': asdict(snapshot.timeline), 'frames_encoded': snapshot.frames_encoded,
        'newest_ns': snapshot.stamps.newest_ns, 'segments': snapshot.stamps.segments,
        'cameras': [[name, *newest] for name, newest in snapshot.stamps.cameras.items()],
        'observations': {'names': seen_names}, 'pending': {'names': pending_names},
        'blocks': [[block.grids, len(block.frames)] for block in snapshot.blocks]}
    tensors = {
        'weights': snapshot.fingerprint.sample, 'grids': _integers(grids),
        # None where positions are counted by slot.
        'times': _integers([snapshot.times[grid] for grid in grids if snapshot.times])}
    for view in snapshot.views:
        for name in ('keys', 'values', 'coordinates'):
            stored = getattr(view, name)
            if isinstance(stored, QuantizedVectors):
                tensors[f'layers.{view.layer}.{name}.scales'] = stored.scales
                stored = stored.codes
            tensors[f'layers.{view.layer}.{name}'] = stored
    for index, (convolution, state) in enumerate(snapshot.states):
        tensors[f'linear.{index}.convolution'] = convolution
        tensors[f'linear.{index}.state'] = state
    tensors |= {f'observations.{name}': column for name, column in seen.items()}
    tensors |= pending
    if any(block.label for block in snapshot.blocks):
        facts['labelled'] = [bool(block.label) for block in snapshot.blocks]
    if snapshot.recent:
        recent, recent_names = _frames_to_file(
            'recent', [frame for grid in snapshot.recent for frame in grid.frames])
        facts |= {
            'recent': {'names': recent_names}, 'recent_grids': [
                [grid.number, grid.start, len(grid.frames)] for grid in snapshot.recent]}
        tensors |= recent
    jpegs = [jpeg for _, jpeg in snapshot.thumbnails]
    tensors['thumbnails.grids'] = _integers([grid for grid, _ in snapshot.thumbnails])
    tensors['thumbnails.sizes'] = _integers([len(jpeg) for jpeg in jpegs])
    tensors['thumbnails.jpegs'] = torch.from_numpy(
        np.frombuffer(b''.join(jpegs), np.uint8).copy())
    return facts, tensors


def _frames_to_file(
    table: str, frames: Sequence[PendingFrame],
) -> tuple[dict[str, Tensor], list[str]]:
    """Write frames as ``_to_columns`` does, and their pixels."""
    columns, names = _to_columns([Observation.of([frame]) for frame in frames])
    tensors = {f'{table}.{name}': column for name, column in columns.items()}
    pixels = {f'{table}.{index}.pixels': frame.pixels for index, frame in enumerate(frames)}
    return tensors | pixels, names


def _integers(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.int64)


def _to_columns(observations: Sequence[Observation]) -> tuple[dict[str, Tensor], list[str]]:
    """
    Write observations as columns, in their order.

    :return: ``stamps`` int64 ``[n, 2]``, ``names`` int64 ``[n, 2]`` (camera; frame of the pose,
        -1: none) and ``poses`` float64 ``[n, 7 + 36]``; and the names that are counted.
    """
    names: dict[str, int] = {}

    def number(name: str) -> int:
        return names.setdefault(name, len(names))

    stamps: list[int] = []
    named: list[int] = []
    poses: list[list[float]] = []
    for each in observations:
        stamps += each.first_ns, each.last_ns
        frame, numbers = NO_FRAME, [0.0] * POSE_NUMBERS
        if each.pose is not None:
            # No variance is ever 0, so zeros can stand for an unknown covariance, as in ROS.
            known = [
                *(float(getattr(each.pose, axis)) for axis in POSE),
                *(each.pose.covariance or [0.0] * COVARIANCE)]
            # A pose that is not finite is dropped.
            if all(map(math.isfinite, known)):
                frame, numbers = number(each.pose.frame_id), known
        named += number(each.camera), frame
        poses.append(numbers)
    columns = {
        'stamps': _integers(stamps).view(-1, 2), 'names': _integers(named).view(-1, 2),
        'poses': torch.tensor(poses, dtype=torch.float64).view(-1, POSE_NUMBERS)}
    return columns, list(names)


# -- read -------------------------------------------------------------------------------------


def from_file(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MemorySnapshot:
    """
    Read a snapshot; its keys and values stay where they are.

    :raises StorageError: a value that no memory can have, or a missing one.
    """
    try:
        return _read(read_facts(facts), tensors)
    except StorageError:
        raise
    except Exception as error:
        # Of another type or shape: every unforeseen fault of a file is a refusal.
        raise StorageError(f'{type(error).__name__}: {error}') from error


def _read(facts: SnapshotFacts, tensors: Mapping[str, Tensor]) -> MemorySnapshot:
    fingerprint = _read_fingerprint(facts, tensors['weights'])
    observations = _from_columns(tensors, 'observations', facts.observations.names)
    grids = _read_integers(tensors['grids'])
    ascend = all(a < b for a, b in pairwise([-1, *grids, facts.next_grid]))
    if not ascend or len(grids) != len(observations):
        raise StorageError('its observations do not match its grids')
    known = facts.timeline.model_dump(by_alias=True)
    timeline = TemporalAxis(**known) if isinstance(facts.timeline, TimelineFacts) else (
        SequenceAxis(**known))
    if 'times' in tensors:
        times = _read_integers(tensors['times'])
    elif isinstance(timeline, SequenceAxis):
        raise StorageError('it does not say where its grids start')
    else:
        times = _times_of_version_1(grids, observations, facts.next_grid, timeline)
    by_slot = False
    if isinstance(timeline, SequenceAxis) and timeline.flat and grids and not times:
        by_slot = True
        if timeline.end != facts.tokens:
            raise StorageError(
                f'its positions end at {timeline.end}, but it has {facts.tokens} tokens')
    shapes = GridShapes()
    shapes.restore((
        tuple(start for start, *_ in facts.shapes),
        tuple((rows, columns, camera) for _, rows, columns, camera in facts.shapes)))
    if not by_slot:
        _check_order(grids, times, timeline, shapes)
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
        times={} if by_slot else dict(zip(grids, times, strict=True)),
        blocks=_read_blocks(facts, tensors),
        thumbnails=_read_thumbnails(tensors, facts.next_grid),
        recent=_read_recent(facts, tensors),
        states=_read_states(facts.model, tensors, views[0].keys.dtype))


def _check_order(
    grids: Sequence[int], times: Sequence[int], timeline: Timeline, shapes: GridShapes,
) -> None:
    """:raises StorageError: grids are not in the order of time; on real time, of a camera."""
    by_camera: dict[int, list[int]] = {}
    for grid, start in zip(grids, times, strict=True):
        # Blocks of several cameras are written one after another, for the same time.
        camera = shapes.of(grid)[2] if isinstance(timeline, TemporalAxis) and len(shapes) else 0
        by_camera.setdefault(camera, [0]).append(start)
    for own in by_camera.values():
        if any(a > b for a, b in pairwise([*own, timeline.last])):
            raise StorageError('its observations are not in the order of time')


def _read_integers(column: Tensor) -> list[int]:
    if column.dtype != torch.int64 or column.ndim != 1:
        raise StorageError(
            f'a column of integers is int64 [n], got {column.dtype} {[*column.shape]}')
    numbers: list[int] = column.tolist()
    return numbers


def _read_fingerprint(facts: SnapshotFacts, sample: Tensor) -> ModelFingerprint:
    if sample.dtype != torch.float32 or sample.ndim != 1:
        raise StorageError('it does not say which model it is of')
    layout = facts.model.model_dump(by_alias=True, exclude_unset=True)
    return ModelFingerprint(layout, sample, DTYPES[facts.dtype])


def _from_columns(
    tensors: Mapping[str, Tensor], table: str, names: Sequence[str],
) -> list[Observation]:
    """Read and check what ``_to_columns`` wrote."""
    stamps, named, poses = (tensors[f'{table}.{name}'] for name in ('stamps', 'names', 'poses'))
    for column, width, dtype in (
            (stamps, 2, torch.int64), (named, 2, torch.int64),
            (poses, POSE_NUMBERS, torch.float64)):
        if column.shape != (len(stamps), width) or column.dtype != dtype:
            raise StorageError(
                f'a column of {table} is {dtype} {[len(stamps), width]}, got {column.dtype} '
                f'{[*column.shape]}')
    observations = []
    for (first, last), (camera, frame), pose in zip(
            stamps.tolist(), named.tolist(), poses.tolist(), strict=True):
        if not 0 < first <= last < MAX_STAMP_NS:
            raise StorageError(f'an observation lasts from {first} to {last} ns')
        if not (0 <= camera < len(names) and NO_FRAME <= frame < len(names)):
            raise StorageError(f'an observation is of camera {camera} of {len(names)} names')
        if not all(map(math.isfinite, pose)):
            raise StorageError('a pose is not finite')
        observations.append(Observation(
            first, last, names[camera],
            None if frame == NO_FRAME else _to_pose(pose, names[frame])))
    return observations


def _to_pose(numbers: list[float], frame_id: str) -> Pose:
    x, y, z, qx, qy, qz, qw, *covariance = numbers
    return Pose(
        x, y, z, qx, qy, qz, qw, frame_id, tuple(covariance) if any(covariance) else ())


def _times_of_version_1(
    grids: Sequence[int], observations: Sequence[Observation], next_grid: int,
    timeline: TemporalAxis,
) -> list[int]:
    """Work out the temporal indices, which files of version 1 do not have."""
    if timeline.tokens_per_second is None:
        return [*grids]
    replayed, times = replace(timeline, last=-1, _offset=0), []
    for each in observations:
        replayed = replayed.advance(each.first_ns, 0, 0)
        times.append(replayed.last)
    if replayed != timeline or len(grids) != next_grid:
        raise StorageError(
            'files of version 1 have no temporal positions, and some observations were forgotten '
            'since, so the positions cannot be worked out')
    return times


def _read_views(
    facts: SnapshotFacts, tensors: Mapping[str, Tensor], shapes: GridShapes,
) -> list[LayerView]:
    layers, size = facts.model.layers, (facts.model.kv_heads, facts.tokens)
    wide = *size, facts.model.head_dim
    dtype = _read_vectors(facts, tensors, 'layers.0.keys').dtype
    views = []
    for layer in range(layers):
        keys, values = (
            _read_vectors(facts, tensors, f'layers.{layer}.{name}') for name in ('keys', 'values'))
        coordinates = tensors[f'layers.{layer}.coordinates']
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


def _read_vectors(facts: SnapshotFacts, tensors: Mapping[str, Tensor], name: str) -> Tensor:
    """Read keys or values; what is stored quantised reads as the dtype of the model."""
    stored, scales = tensors[name], tensors.get(f'{name}.scales')
    if stored.dtype not in NAMES:
        return stored
    if scales is None or scales.dtype != SCALE_DTYPE or not stored.ndim or scales.shape != (
            *stored.shape[:-1], scales_of(stored.shape[-1])):
        raise StorageError(f'{name} is {stored.dtype} without the scales that belong to it')
    return QuantizedVectors(stored, scales, DTYPES[facts.dtype])


def _read_states(
    model: ModelLayout, tensors: Mapping[str, Tensor], dtype: torch.dtype,
) -> list[tuple[Tensor, Tensor]]:
    """Read the states of each layer with linear attention; those of float32 do not convert."""
    states = []
    for index, layer in enumerate(model.linear_layers):
        convolution, state = (
            tensors[f'linear.{index}.{name}'] for name in ('convolution', 'state'))
        for found, shape, its_dtype in (
                (convolution, model.linear_convolution, dtype),
                (state, model.linear_state, torch.float32)):
            if [*found.shape] != [1, *(shape or ())] or found.dtype != its_dtype:
                raise StorageError(
                    f'the state of layer {layer} is {found.dtype} {[*found.shape]}, not '
                    f'{its_dtype} {[1, *(shape or ())]}')
            if not bool(found.isfinite().all()):
                raise StorageError(f'the state of layer {layer} is not finite')
        states.append((convolution, state))
    return states


def _check_coordinates(view: LayerView, known_grids: Tensor) -> None:
    """:raises StorageError: a token of an unknown grid, outside it, repeated or out of order."""
    grid, row, column = view.coordinates.long().unbind(-1)
    text = text_tokens(view.coordinates)
    if not grid.numel():
        return
    if not bool(torch.isin(grid, known_grids).all()):
        raise StorageError(f'layer {view.layer} has tokens of grids without an observation')
    rows, columns, _ = view.shapes.lookup(grid)
    first = view.shapes.snapshot()[0][0]
    # Text stands on rows of its own: columns below 0 before the visual tokens, from 0 on behind.
    outside = (grid < first) | torch.where(
        text, (column.abs() >= MAX_SIDE) | ((column < 0) != (row != AFTER)),
        (row < 0) | (row >= rows) | (column < 0) | (column >= columns))
    place = (grid * (AFTER + 2) + row + 1) * 2 * MAX_SIDE + column + MAX_SIDE
    if bool(outside.any()) or bool((place.diff(dim=-1) <= 0).any()):
        raise StorageError(f'layer {view.layer} has tokens outside their grid or out of order')


def _read_blocks(
    facts: SnapshotFacts, tensors: Mapping[str, Tensor],
) -> list[PendingBlock]:
    frames = _read_frames('pending', facts.pending.names, facts.model, tensors)
    known = {name for name, *_ in facts.cameras}
    blocks: dict[str, PendingBlock] = {}
    labelled = facts.labelled or [False] * len(facts.blocks)
    for (grids, count), names_camera in zip(facts.blocks, labelled, strict=True):
        own, frames = frames[:count], frames[count:]
        if len(own) < count:
            raise StorageError(f'a block has {len(own)} of its {count} frames')
        camera, height, width = own[0].camera, *own[0].pixels.shape[:2]
        block = PendingBlock(
            grids, facts.model.grid_tokens(height, width), facts.model.temporal_patch_size, own,
            camera_label(camera) if names_camera else '')
        alike = all(block.takes(frame.pixels) and frame.camera == camera for frame in own)
        if not alike or block.complete or camera in blocks or camera not in known:
            raise StorageError('pending frames do not form a block')
        blocks[camera] = block
    if frames:
        raise StorageError('a pending frame belongs to no block')
    return list(blocks.values())


def _read_recent(facts: SnapshotFacts, tensors: Mapping[str, Tensor]) -> list[RecentGrid]:
    if not facts.recent_grids:
        return []
    frames = _read_frames('recent', facts.recent.names, facts.model, tensors)
    known, grids = {name for name, *_ in facts.cameras}, []
    for number, start, count in facts.recent_grids:
        own, frames = frames[:count], frames[count:]
        if len(own) < count or count > facts.model.temporal_patch_size or any(
                frame.camera != own[0].camera or frame.pixels.shape != own[0].pixels.shape
                for frame in own) or own[0].camera not in known or number >= facts.next_grid:
            raise StorageError('its recent frames do not form grids')
        grids.append(RecentGrid(own, number, start))
    if frames:
        raise StorageError('a recent frame belongs to no grid')
    return grids


def _read_frames(
    table: str, names: Sequence[str], model: ModelLayout, tensors: Mapping[str, Tensor],
) -> list[PendingFrame]:
    """Read what ``_frames_to_file`` wrote."""
    return [
        PendingFrame(_read_pixels(tensors[f'{table}.{index}.pixels'], model), seen.first_ns,
                     seen.camera, seen.pose, seen.last_ns)
        for index, seen in enumerate(_from_columns(tensors, table, names))]


def _read_pixels(pixels: Tensor, model: ModelLayout) -> Tensor:
    if pixels.dtype != torch.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or (
            not model.takes(*pixels.shape[:2])):
        raise StorageError(f'a pending frame is {pixels.dtype} {[*pixels.shape]}')
    # Pending frames outlive the mapped file.
    return pixels.clone()


def _read_thumbnails(tensors: Mapping[str, Tensor], next_grid: int) -> list[tuple[int, bytes]]:
    grids, sizes = (_read_integers(tensors[f'thumbnails.{name}']) for name in ('grids', 'sizes'))
    jpegs = tensors['thumbnails.jpegs']
    if len(grids) != len(sizes) or jpegs.dtype != torch.uint8 or jpegs.shape != (sum(sizes),):
        raise StorageError('its thumbnails do not match their sizes')
    if any(not 0 <= grid < next_grid for grid in grids) or any(size < 0 for size in sizes):
        raise StorageError('a thumbnail belongs to no grid')
    data = jpegs.numpy().tobytes()
    ends = list(accumulate(sizes))
    return [
        (grid, data[end - size:end]) for grid, size, end in zip(grids, sizes, ends, strict=True)]
