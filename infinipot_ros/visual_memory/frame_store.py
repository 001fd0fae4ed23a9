# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The frames of remembered grids as jpegs, so that a question can have them looked at again.

A grid's frames lie below each other in one picture.
"""

from __future__ import annotations

import gc
import io
import os
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from infinipot_ros.errors import ConfigurationError, FrameError, StorageError
from infinipot_ros.visual_memory.file_lock import open_locked
from infinipot_ros.visual_memory.observations import Observation
from infinipot_ros.visual_memory.pending import PendingFrame
from infinipot_ros.visual_memory.thumbnails import to_jpeg
from infinipot_ros.vlm.model import VisionLanguageModel

QUALITY = 90

LOCK = '.second_look.lock'
OWN = re.compile(r'second_look_\d+\.(jpg|part)', re.ASCII)
# Pictures of somebody's rooms.
PRIVATE = 0o600


def frames_to_jpeg(frames: Sequence[PendingFrame]) -> bytes:
    """Write a grid's frames, of one size, as one jpeg; with all of its colours, for questions."""
    pixels = torch.cat([frame.pixels for frame in frames]).cpu().numpy()
    return to_jpeg(Image.fromarray(pixels), quality=QUALITY, subsampling=0)


def frames_of_jpeg(
    jpeg: bytes, seen: Observation, size: tuple[int, int], model: VisionLanguageModel,
) -> list[PendingFrame] | None:
    """
    Read what ``frames_to_jpeg`` wrote.

    :param seen: when and where; a second frame has its last stamp.
    :param size: rows and columns of the grid.
    :return: None if it is damaged or of another size.
    """
    try:
        image = Image.open(io.BytesIO(jpeg), formats=('JPEG',))
        # Before it is decoded: what is damaged may claim any size.
        width, height = image.size
        count = next((
            number for number in range(1, model.family.FRAMES_PER_GRID + 1)
            if height % number == 0 and _fits(model, height // number, width, size)), 0)
        if not count or image.mode != 'RGB':
            return None
        pixels = torch.from_numpy(np.array(image)).to(model.device)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, FrameError):
        return None
    stamps = [seen.first_ns, seen.last_ns][:count]
    return [
        PendingFrame(part, stamp, seen.camera, seen.pose, seen.last_ns)
        for part, stamp in zip(pixels.chunk(count), stamps, strict=True)]


def _fits(model: VisionLanguageModel, height: int, width: int, size: tuple[int, int]) -> bool:
    return model.encoded_size(height, width, height * width) == (height, width) and (
        model.grid_size(height, width) == size)


class FrameStore:
    """
    A shelf of ``Thumbnails`` on disk: a file each, written whole or not at all.

    The files are of use to this memory only, so those that an earlier run left are deleted. How
    many bytes they have together is decided by ``Thumbnails``.

    :param directory: made if it is missing; in use by one memory at a time.
    :raises ConfigurationError: it cannot be used, or another memory uses it.
    """

    def __init__(self, directory: Path | str) -> None:
        self._folder = Path(directory)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = self._lock()
        except BlockingIOError as error:
            raise ConfigurationError(
                f'second_look_directory {directory} is in use by another memory; give each '
                'memory one of its own, or end the other') from error
        except (OSError, StorageError) as error:
            raise ConfigurationError(
                f'second_look_directory {directory} cannot be used ({error}); give a directory '
                'that can be written to, or none to keep the frames in memory') from error
        weakref.finalize(self, os.close, handle)
        try:
            for path in self._folder.iterdir():
                if OWN.fullmatch(path.name):
                    path.unlink()
        except OSError as error:
            raise ConfigurationError(
                f'second_look_directory {directory} holds frames of an earlier run that cannot '
                f'be deleted ({error}); delete them, or give another directory') from error

    def _lock(self) -> int:
        try:
            return open_locked(self._folder / LOCK, PRIVATE)
        except BlockingIOError:
            # Perhaps by a memory of this process that is no longer used, but not freed yet.
            gc.collect()
            return open_locked(self._folder / LOCK, PRIVATE)

    def _path(self, key: int) -> Path:
        return self._folder / f'second_look_{key}.jpg'

    def __getitem__(self, key: int) -> bytes:
        return self._path(key).read_bytes()

    def __setitem__(self, key: int, jpeg: bytes) -> None:
        path = self._path(key)
        part = path.with_suffix('.part')
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            with open(os.open(part, flags, PRIVATE), 'wb') as file:
                file.write(jpeg)
            os.replace(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def __delitem__(self, key: int) -> None:
        self._path(key).unlink(missing_ok=True)
