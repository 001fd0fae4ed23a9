# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The JSON facts of a saved memory: every field, its type and its range.

Validation is strict: nothing is converted (neither True nor 1.0 passes for 1), and no field may be
missing or added. ``snapshot_codec`` checks the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from infinipot_ros.errors import StorageError
from infinipot_ros.kv_cache.coordinates import MAX_GRIDS, MAX_SIDE

MAX_STAMP_NS = 2 ** 62

Count = Annotated[int, Field(ge=0, le=2 ** 62)]
Grid = Annotated[int, Field(ge=0, le=MAX_GRIDS)]
Place = Annotated[int, Field(ge=-1, le=MAX_GRIDS)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Stamp = Annotated[int, Field(ge=0, le=MAX_STAMP_NS)]
Some = Annotated[int, Field(ge=1, le=MAX_GRIDS)]
Model = TypeVar('Model', bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra='forbid', frozen=True, allow_inf_nan=False)


class ModelLayout(_Strict):
    """The sizes that ``ModelFingerprint.layout`` names; the rest is as published."""

    model_type: str = Field(alias='model type')
    layers: Side = Field(alias='number of layers')
    kv_heads: Side = Field(alias='number of KV heads')
    head_dim: Side = Field(alias='head dimension')
    rope_sections: list[Annotated[int, Field(ge=0, le=MAX_SIDE)]] = Field(alias='M-RoPE sections')
    patch_size: Side = Field(alias='patch size')
    merge_size: Side = Field(alias='merge size')
    temporal_patch_size: Side = Field(alias='temporal patch size')
    tokens_per_second: int | float | None = Field(alias='temporal steps per second')
    frame_tokens: Side | None = Field(alias='tokens of a frame', default=None)
    frame_size: tuple[Side, Side] | None = Field(alias='size of a frame', default=None)
    weights: str | None = None
    linear_layers: list[Grid] = Field(alias='layers of linear attention', default=[])
    linear_convolution: list[Some] | None = Field(
        alias='convolution of linear attention', default=None, min_length=2, max_length=2)
    linear_state: list[Some] | None = Field(
        alias='state of linear attention', default=None, min_length=3, max_length=3)

    @model_validator(mode='after')
    def _check_states(self) -> ModelLayout:
        known = {bool(self.linear_layers), self.linear_convolution is not None,
                 self.linear_state is not None}
        if len(known) > 1:
            raise ValueError('its linear attention is described in part')
        return self

    def takes(self, height: int, width: int) -> bool:
        """Return whether frames are encoded at this size."""
        if self.frame_size is not None:
            return (height, width) == self.frame_size
        side = self.patch_size * self.merge_size
        return height > 0 < width and height % side == 0 == width % side

    def grid_tokens(self, height: int, width: int) -> int:
        """Return the visual tokens of a grid of frames encoded at this size."""
        return self.frame_tokens or height * width // (self.patch_size * self.merge_size) ** 2


class SequenceFacts(_Strict):
    """The fields of ``vlm.positions.SequenceAxis``."""

    flat: bool
    last: int = Field(ge=-1, le=MAX_GRIDS)
    end: Grid
    origin_ns: int = Field(ge=-1, le=MAX_STAMP_NS, alias='_origin_ns')
    offset_ns: int = Field(ge=0, le=MAX_STAMP_NS, alias='_offset_ns')
    elapsed_ns: int = Field(ge=0, le=MAX_STAMP_NS, alias='_elapsed_ns')


class TimelineFacts(_Strict):
    """The fields of ``vlm.positions.TemporalAxis``."""

    tokens_per_second: int | float | None
    last: int = Field(ge=-1, le=MAX_GRIDS)
    extent: int = Field(ge=0, le=MAX_SIDE)
    origin_ns: int = Field(ge=-1, le=MAX_STAMP_NS, alias='_origin_ns')
    offset: int = Field(ge=-MAX_STAMP_NS, le=MAX_STAMP_NS, alias='_offset')


class Names(_Strict):
    """The names that a table of observations refers to: cameras and frames of poses."""

    names: list[str]


class SnapshotFacts(_Strict):
    """
    The JSON part of a saved memory; see ``MemorySnapshot`` for the meaning.

    :param rebases: not in files of version 1.
    :param shapes: first grid, rows, columns and camera of each run of equal grids.
    :param cameras: name, segment and stamp of each camera's newest frame.
    :param recent: not in files without recent frames, nor is ``recent_grids``: number and start of
        each grid, -1 where it has none, and its frames.
    :param labelled: whether each pending block's text names its camera; empty: none.
    :param blocks: of each pending block, the grids that complete it and its frames so far.
    """

    model: ModelLayout
    dtype: Literal['float32', 'float16', 'bfloat16']
    prefix_sha256: str = Field(pattern='^[0-9a-f]{64}$')
    policy: str
    policy_state: dict[str, Any]
    tokens: Grid
    next_grid: Grid
    compressions: Count
    rebases: Count = 0
    shapes: list[tuple[Grid, Side, Side, Grid]]
    timeline: TimelineFacts | SequenceFacts
    frames_encoded: Count
    newest_ns: Stamp
    segments: Count
    cameras: list[tuple[str, Count, Stamp]]
    observations: Names
    pending: Names
    blocks: list[tuple[Some, Some]]
    recent: Names = Names(names=[])
    recent_grids: list[tuple[Place, Place, Some]] = []
    labelled: list[bool] = []

    @model_validator(mode='after')
    def _check_agreement(self) -> SnapshotFacts:
        names = [name for name, *_ in self.cameras]
        if len(set(names)) < len(names):
            raise ValueError('two cameras have the same name')
        if any(segment > self.segments for _, segment, _ in self.cameras):
            raise ValueError('a camera is ahead of the segments')
        if any(camera >= len(names) for *_, camera in self.shapes):
            raise ValueError('a grid belongs to an unknown camera')
        if any(a >= b for a, b in pairwise(start for start, *_ in self.shapes)):
            raise ValueError('the runs of grids are not in order')
        if isinstance(self.timeline, TimelineFacts) and (
                self.timeline.tokens_per_second != self.model.tokens_per_second):
            raise ValueError('its timeline and its model count time differently')
        return self


class SavedSettings(BaseModel):
    """
    The settings of the memory that was saved, see ``MemoryConfig``; None in files without them.

    They say how to make a memory that answers as it did; nothing in the file depends on them.

    :param model: the name it was loaded by; of a folder the last part.
    """

    # A later release may write more of them.
    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    model: str | None = None
    budget: Some | None = None
    keep_ratio: float | None = None
    block_size: Some | None = None
    max_pixels: Some | None = None
    positions: str | None = None
    recent_frames: Grid | None = None
    recent_max_pixels: Grid | None = None


def read_settings(settings: Mapping[str, Any]) -> SavedSettings:
    """
    Validate the settings of a file.

    :raises StorageError: one of another type or out of range.
    """
    return _validate(SavedSettings, settings)


def read_facts(facts: Mapping[str, Any]) -> SnapshotFacts:
    """
    Validate the facts of a file.

    :raises StorageError: a field that is missing, unknown, of another type or out of range.
    """
    return _validate(SnapshotFacts, facts)


def _validate(model: type[Model], values: Mapping[str, Any]) -> Model:
    try:
        # From JSON: a strict model accepts its arrays as tuples.
        return model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        where = f'{".".join(map(str, fault["loc"])):.80}: ' if fault['loc'] else ''
        got = '' if isinstance(fault['input'], dict | list) else f', got {fault["input"]!r:.40}'
        why = fault['msg'].removeprefix('Value error, ')
        raise StorageError(f'{where}{why:.120}{got}') from error
