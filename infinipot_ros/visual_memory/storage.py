# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Saving a memory and taking it in again: the robot remembers over a restart.

A file that is no memory of this model, or was changed, is refused before anything of it is used,
and what is inside is checked although its checksums are right: anyone can compute those.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.file_lock import MemoryLock
from infinipot_ros.visual_memory.snapshot_file import part_of, read_snapshot, write_snapshot
from infinipot_ros.visual_memory.state_file import from_file, to_file
from infinipot_ros.visual_memory.visual_memory import VisualMemory

REFUSED = '.refused'
#: Refused files that are kept; the first ones stay, the last place is for the newest.
MAX_REFUSED = 4


@dataclass(frozen=True)
class Saved:
    """What was written: ``size`` in bytes, ``tokens`` a layer and KV head."""

    path: Path
    size: int
    tokens: int
    observations: int

    def describe(self) -> str:
        """Say it in one line."""
        return (
            f'saved {self.tokens} tokens of {self.observations} observations to {self.path} '
            f'({self.size} bytes)')


@dataclass(frozen=True)
class Loaded:
    """
    What was taken in.

    :param tokens: visual tokens a layer and KV head holds now; ``saved_tokens`` in the file.
    :param dtype: of the file, where the memory has another; else empty.
    :param frames_lost: frames that waited for their block and found no room.
    """

    path: Path
    tokens: int
    saved_tokens: int
    observations: int
    dtype: str
    frames_lost: int

    def describe(self) -> str:
        """Say it in one line."""
        text = f'loaded {self.tokens} tokens of {self.observations} observations from {self.path}'
        if self.tokens < self.saved_tokens:
            text += f', compressed from {self.saved_tokens} to fit the budget'
        if self.dtype:
            text += f', converted from {self.dtype}'
        if self.frames_lost:
            text += f'; {self.frames_lost} frames that waited for their block did not fit'
        return text


def save(observer: VisualMemory, path: Path | str, lock: MemoryLock | None = None) -> Saved:
    """
    Write all an observer remembers to one file, in one step.

    :param lock: what the caller holds; for another file than its own, that one's is taken.
    :raises MemoryInUseError: another memory is kept in that file.
    :raises StorageError: it could not be written; the old file, if any, is as it was.
    """
    state = observer.state()
    held = lock is not None and lock.covers(path)
    with nullcontext() if held else MemoryLock(path):
        size = write_snapshot(Path(path), *to_file(state))
    return Saved(Path(path), size, state.tokens, len(state.observations))


def load(observer: VisualMemory, path: Path | str) -> Loaded:
    """
    Replace what an observer remembers by what was saved.

    Another dtype is converted, a larger memory compressed down by the observer's policy.

    :raises StorageError: why not: no such file, damaged, of a newer release, of another model,
        too large for a policy that forgets nothing, or a fault nobody foresaw. The memory is as
        it was, or empty where the machine failed halfway.
    """
    path = Path(path)
    try:
        with read_snapshot(path) as file:
            try:
                saved = from_file(file.facts, file.tensors)
            except StorageError as error:
                raise StorageError(
                    f'{path} is not a valid memory ({error}); use an earlier copy, or start with '
                    'an empty memory') from error
            try:
                lost = observer.restore(saved)
            except StorageError as error:
                raise StorageError(f'{path} cannot be loaded: {error}') from error
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(
            f'{path} cannot be loaded ({type(error).__name__}: {error}); use an earlier copy, or '
            'start with an empty memory') from error
    now = observer.state()
    dtype = saved.views[0].keys.dtype
    return Loaded(
        path, now.tokens, saved.tokens, len(now.observations),
        '' if dtype == now.views[0].keys.dtype else str(dtype).removeprefix('torch.'), lost)


def load_at_start(observer: VisualMemory, path: Path | str) -> Loaded | StorageError | None:
    """
    Take in what was remembered before a restart, if there is something.

    To be called with the file's ``MemoryLock`` held, where others may use it. A file that is
    refused is set aside, under its name and ``.refused``, ``.refused.2``, ..., so that it keeps
    no robot from starting and the next save does not write over it.

    :return: what was loaded; why not; None where there is no file.
    """
    path = Path(path)
    if not os.path.lexists(path):
        return None
    try:
        return load(observer, path)
    except StorageError as error:
        try:
            if not path.is_file():
                return error
            aside = _place_aside(path)
            os.replace(path, aside)
        except OSError as problem:
            return StorageError(f'{error} (it could not be set aside: {problem.strerror})')
        return StorageError(f'{error} (it was set aside as {aside})')


def was_cut_off(path: Path | str) -> bool:
    """Tell whether the last save to a file did not end; the file is then the one before."""
    return part_of(Path(path)).is_file()


def _place_aside(path: Path) -> Path:
    names = [REFUSED, *(f'{REFUSED}.{number}' for number in range(2, MAX_REFUSED + 1))]
    places = [path.with_name(path.name + name) for name in names]
    return next((place for place in places if not os.path.lexists(place)), places[-1])
