# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Save and load memories, so that a robot remembers across restarts.

A file of another model, or a changed one, is refused before anything of it is used. Its contents
are checked even if its checksums are right: anyone can compute those.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from infinipot_ros.errors import StorageError
from infinipot_ros.visual_memory.file_lock import MemoryLock
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.snapshot_codec import from_file, to_file
from infinipot_ros.visual_memory.snapshot_file import (
    is_snapshot,
    part_of,
    read_snapshot,
    write_snapshot,
)
from infinipot_ros.visual_memory.snapshot_summary import (
    invalid_file,
    settings_to_file,
    summarise,
)
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from infinipot_ros.vlm.model import VisionLanguageModel

REFUSED = '.refused'
#: Most refused files that are kept: the first ones and the newest.
MAX_REFUSED = 4


@dataclass(frozen=True)
class Saved:
    """What was written: ``size`` in bytes, ``tokens`` a layer and KV head."""

    path: Path
    size: int
    tokens: int
    observations: int

    def describe(self) -> str:
        """Describe it in one line."""
        return (
            f'saved {self.tokens} tokens of {self.observations} observations to {self.path} '
            f'({self.size} bytes)')


@dataclass(frozen=True)
class Loaded:
    """
    What was loaded.

    :param tokens: visual tokens a layer and KV head holds now; ``saved_tokens`` in the file.
    :param dtype: of the file, if the memory has another; else empty.
    :param frames_lost: pending frames that did not fit.
    """

    path: Path
    tokens: int
    saved_tokens: int
    observations: int
    dtype: str
    frames_lost: int

    def describe(self) -> str:
        """Describe it in one line."""
        text = f'loaded {self.tokens} tokens of {self.observations} observations from {self.path}'
        if self.tokens < self.saved_tokens:
            text += f', compressed from {self.saved_tokens} to fit the budget'
        if self.dtype:
            text += f', converted from {self.dtype}'
        if self.frames_lost:
            text += f'; {self.frames_lost} frames that were not encoded yet did not fit'
        return text


def save(memory: VisualMemory, path: Path | str, lock: MemoryLock | None = None,
         replace: bool = True) -> Saved:
    """
    Write all that is remembered to one file, in one step.

    What is no saved memory is never replaced.

    :param lock: a lock that the caller holds; if it is of another file, this file is locked too.
    :param replace: as in ``check_replaceable``.
    :raises MemoryInUseError: another memory is saved to that file.
    :raises StorageError: it could not be written; the old file, if any, is as it was.
    """
    snapshot = memory.capture()
    held = lock is not None and lock.covers(path)
    with nullcontext() if held else MemoryLock(path):
        check_replaceable(memory, path, replace)
        size = write_snapshot(
            Path(path), *to_file(snapshot), settings_to_file(memory.settings))
        _note_file(memory, path)
    return Saved(Path(path), size, snapshot.tokens, len(snapshot.observations))


def check_replaceable(memory: VisualMemory, path: Path | str, replace: bool) -> None:
    """
    Check that a save would replace nothing that is missed.

    :param replace: whether a saved memory may be replaced that this one was neither loaded from
        nor saved to, or that was changed since.
    :raises StorageError: another file is there.
    """
    version = _version_of(path)
    # Nothing is lost with an empty file; one that is not regular is refused when it is written.
    if (not os.path.isfile(path) or version is None or not version[0]
            or memory.files.get(os.path.realpath(path)) == version):
        return
    if not is_snapshot(Path(path)):
        raise StorageError(
            f'{path} is there and is not a saved memory; give another name, or move it away')
    if not replace:
        raise StorageError(
            f'{path} holds a memory that this one was neither loaded from nor saved to; load it '
            'first, give another name, or move it away')


def load(memory: VisualMemory, path: Path | str) -> Loaded:
    """
    Replace what is remembered by what was saved.

    Another dtype is converted; too many tokens are compressed by the memory's policy.

    :raises StorageError: no such file, damaged, of a newer release, of another model, too large
        for a policy that never compresses, or an unforeseen fault. The memory is as it was, or
        empty if the machine failed halfway.
    """
    path = Path(path)
    try:
        with read_snapshot(path) as file:
            try:
                saved = from_file(file.facts, file.tensors)
            except StorageError as error:
                raise invalid_file(path, error) from error
            try:
                lost = memory.restore(saved)
            except StorageError as error:
                raise StorageError(f'{path} cannot be loaded: {error}') from error
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(
            f'{path} cannot be loaded ({type(error).__name__}: {error}); use an earlier copy, or '
            'start with an empty memory') from error
    _note_file(memory, path)
    now = memory.capture()
    dtype = saved.views[0].keys.dtype
    return Loaded(
        path, now.tokens, saved.tokens, len(now.observations),
        '' if dtype == now.views[0].keys.dtype else str(dtype).removeprefix('torch.'), lost)


def open_memory(
    path: Path | str, settings: MemoryConfig, *, keep: Collection[str] = (),
    model: VisionLanguageModel | None = None,
) -> tuple[VisualMemory, Loaded]:
    """
    Make a memory that answers as the saved one, and load it.

    :param settings: of which model, device and limits of answers are taken; the rest is the
        file's, but for those named in ``keep``.
    :param model: as for ``VisualMemory``.
    :raises StorageError: as ``load``; the file is checked before a model is loaded.
    :raises ConfigurationError: as ``VisualMemory``.
    """
    summary = summarise(path)
    memory = VisualMemory(summary.adapt(settings, keep), model)
    try:
        return memory, load(memory, path)
    except StorageError as error:
        named = summary.settings.model
        if named is None or named in (settings.model, Path(settings.model).name):
            raise
        raise StorageError(
            f'{error}; the file names {named!r}, and {settings.model!r} was loaded') from error


def load_at_start(memory: VisualMemory, path: Path | str) -> Loaded | StorageError | None:
    """
    Load what was remembered before a restart, if there is a file.

    Call it with the file's ``MemoryLock`` held if others may use the file. A refused file is
    renamed to ``NAME.refused``, ``.refused.2``, ..., so that the robot can start and the next save
    does not overwrite it.

    :return: what was loaded; why not; None if there is no file.
    """
    path = Path(path)
    try:
        os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return StorageError(f'{path} cannot be read ({error.strerror or error})')
    try:
        return load(memory, path)
    except StorageError as error:
        try:
            if not path.is_file():
                return error
            aside = _refused_path(path)
            os.replace(path, aside)
        except OSError as problem:
            return StorageError(f'{error} (it could not be set aside: {problem.strerror})')
        return StorageError(f'{error} (it was set aside as {aside})')


def was_cut_off(path: Path | str) -> bool:
    """Return whether the last save to a file was cut off; the file is then the previous one."""
    return os.path.isfile(part_of(Path(path)))


def _note_file(memory: VisualMemory, path: Path | str) -> None:
    version = _version_of(path)
    if version is not None:
        memory.files[os.path.realpath(path)] = version


def _version_of(path: Path | str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    # Not the inode: some network file systems make up another each time.
    return found.st_size, found.st_mtime_ns


def _refused_path(path: Path) -> Path:
    names = [REFUSED, *(f'{REFUSED}.{number}' for number in range(2, MAX_REFUSED + 1))]
    places = [path.with_name(path.name + name) for name in names]
    return next((place for place in places if not os.path.lexists(place)), places[-1])
