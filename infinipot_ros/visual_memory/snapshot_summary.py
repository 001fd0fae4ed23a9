# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a saved memory holds, read from its file alone: no model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.observations import Observation, span
from infinipot_ros.visual_memory.policy_names import POLICY_NAMES
from infinipot_ros.visual_memory.snapshot_codec import from_file
from infinipot_ros.visual_memory.snapshot_file import read_snapshot
from infinipot_ros.visual_memory.snapshot_schema import SavedSettings, read_settings


@dataclass(frozen=True)
class SnapshotSummary:
    """
    What a saved memory holds; all of it was checked.

    :param size: bytes of the file.
    :param modified_ns: when the file was last written, by the clock of the file system.
    :param model_type: the family of its model, which has ``layers`` with ``kv_heads`` KV heads.
    :param kv_dtype: what keys and values are stored in, as the setting has it; empty: ``dtype``.
    :param settings: of the memory that was saved, as far as the file has them.
    :param tokens: visual tokens a layer and KV head holds.
    :param frames: that went into the memory; ``frames_pending`` wait for their block.
    :param moments: observations something is left of; ``cameras`` has how many of each camera,
        ``poses`` how many with a pose, ``thumbnails`` how many pictures of moments.
    :param recent_frames: that are kept as pixels.
    :param first_ns: first stamp that is remembered, ``last_ns`` the last; nanoseconds, 0: none.
    """

    path: Path
    size: int
    modified_ns: int
    model_type: str
    layers: int
    kv_heads: int
    dtype: str
    kv_dtype: str
    settings: SavedSettings
    policy: str
    tokens: int
    compressions: int
    segments: int
    frames: int
    frames_pending: int
    recent_frames: int
    moments: int
    cameras: dict[str, int]
    poses: int
    thumbnails: int
    first_ns: int
    last_ns: int

    def adapt(self, settings: MemoryConfig, keep: Collection[str] = ()) -> MemoryConfig:
        """
        Return settings under which a memory answers as the one that was saved.

        :param settings: of which model, device and limits of answers are taken.
        :param keep: names of further settings to leave as they are.
        """
        saved = self.settings.model_dump(exclude_none=True, exclude={'model'})
        if self.policy in POLICY_NAMES:
            saved['policy'] = self.policy
        saved['kv_dtype'] = self.kv_dtype
        if 'budget' not in saved:
            # As much as is there, so that nothing of it is evicted.
            saved['budget'] = max(settings.budget, self.tokens)
        return replace(settings, **{
            name: value for name, value in saved.items() if name not in keep})


def settings_to_file(settings: MemoryConfig) -> dict[str, object]:
    """Return what of a memory's settings goes into its file; a path of this machine does not."""
    found: dict[str, object] = {
        name: getattr(settings, name) for name in SavedSettings.model_fields}
    if Path(settings.model).is_dir():
        found['model'] = Path(settings.model).resolve().name
    return found


def summarise(path: Path | str) -> SnapshotSummary:
    """
    Check a saved memory and describe it.

    :raises StorageError: as ``storage.load``, but for what depends on the model.
    """
    path = Path(path)
    with read_snapshot(path) as file:
        try:
            saved, settings = from_file(file.facts, file.tensors), read_settings(file.settings)
        except StorageError as error:
            raise invalid_file(path, error) from error
        pending = [frame for block in saved.blocks for frame in block.frames]
        seen = list(saved.observations.values())
        first_ns, last_ns = span([*seen, *(Observation.of([frame]) for frame in pending)])
        layout = saved.fingerprint.layout
        moments = Counter(each.camera for each in seen)
        return SnapshotSummary(
            path=path, size=file.size, modified_ns=path.stat().st_mtime_ns,
            model_type=layout['model type'], layers=layout['number of layers'],
            kv_heads=layout['number of KV heads'],
            dtype=str(saved.views[0].keys.dtype).removeprefix('torch.'),
            kv_dtype=saved.kv_dtype, settings=settings,
            policy=saved.policy, tokens=saved.tokens, compressions=saved.compressions,
            segments=saved.stamps.segments, frames=saved.frames_encoded,
            frames_pending=len(pending),
            recent_frames=sum(len(grid.frames) for grid in saved.recent), moments=len(seen),
            cameras={name: moments[name] for name in saved.stamps.cameras},
            poses=sum(each.pose is not None for each in seen), thumbnails=len(saved.thumbnails),
            first_ns=first_ns, last_ns=last_ns)


def invalid_file(path: Path, error: StorageError) -> StorageError:
    """Return the refusal of a file whose checksums are right and whose contents are not."""
    return StorageError(
        f'{path} is not a valid memory snapshot ({error}); use an earlier copy, or '
        'start with an empty memory')
