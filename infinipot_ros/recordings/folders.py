# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Read folders of images: in natural order of their names, evenly spaced in time.

Reads jpeg and png files, and turns them upright by their EXIF orientation.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from infinipot_ros.errors import FrameError, SourceError
from infinipot_ros.images.image_messages import to_rgb
from infinipot_ros.recordings.frame_source import FrameSource
from infinipot_ros.ros_time import SECOND_NS
from infinipot_ros.visual_memory.frame import Frame, RgbImage

DEFAULT_FPS = 2.0

# The bytes of a pixel, 16-bit RGBA, in a png that could not be compressed, and those of the rest.
_PIXEL_BYTES, _NOTES_BYTES = 8, 1 << 24

_ORIENTATION = 0x0112
# EXIF orientation -> quarter turns counter-clockwise, then mirrored left to right.
_TURNS = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}


class FolderSource(FrameSource):
    """
    The images of a folder, without its subfolders.

    :param path: the folder, or one image.
    :param suffixes: of image files, in lower case.
    :param fps: images per second; 2 where it is ``None``.
    :raises SourceError: there is no image.
    """

    kind = 'folder'
    origin_ns = SECOND_NS

    def __init__(
        self, path: Path, *, suffixes: tuple[str, ...], fps: float | None,
        max_image_pixels: int | None = None,
    ) -> None:
        super().__init__(path, DEFAULT_FPS if fps is None else fps, max_image_pixels)
        found = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
        # Hidden files are not pictures, whatever their suffix (macOS writes ._name.jpg).
        images = [file for file in found
                  if file.suffix.lower() in suffixes and not file.name.startswith('.')]
        if not images:
            raise SourceError(
                f'{path} holds {len(found)} files, none of them an image '
                f'({", ".join(suffixes)}): give a ROS 2 bag, a video or a folder of images')
        self._images = sorted(images, key=lambda file: natural_key(file.name))
        self.count_hint = len(images)
        self.seconds = len(images) / (DEFAULT_FPS if fps is None else fps)

    def _frames(self) -> Generator[Frame, None, None]:
        assert self.fps is not None
        first_error = ''
        for index, file in enumerate(self._images):
            self.seen += 1
            try:
                rgb = self._read(file)
            except FrameError as error:
                self.drop(error)
                first_error = first_error or f'{file.name}: {error}'
                continue
            yield Frame(rgb, self.origin_ns + round(index * SECOND_NS / self.fps))
        if self.dropped.total() == self.seen:
            raise SourceError(
                f'{self.path}: none of {self.seen} images is readable; {first_error}')

    def _read(self, file: Path) -> RgbImage:
        most = _PIXEL_BYTES * self.max_image_pixels + _NOTES_BYTES
        try:
            with file.open('rb') as stream:
                data = stream.read(most + 1)
        except OSError as error:
            raise FrameError('decode_failed', f'it cannot be read: {error}') from error
        if len(data) > most:
            raise FrameError(
                'too_large', f'it has more than {most} bytes, the most of an image of '
                f'{self.max_image_pixels} pixels: --max-image-pixels')
        rgb = to_rgb(
            SimpleNamespace(format=file.suffix[1:], data=data), max_pixels=self.max_image_pixels)
        quarters, mirrored = _TURNS.get(_orientation(data), (0, False))
        rgb = np.rot90(rgb, quarters)
        return np.ascontiguousarray(rgb[:, ::-1] if mirrored else rgb)


def natural_key(name: str) -> list[tuple[int, int | str]]:
    """Return a sort key that puts ``frame10`` after ``frame9``, in upper or lower case."""
    parts = re.split(r'([0-9]+)', name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _orientation(data: bytes) -> int:
    try:
        with Image.open(BytesIO(data)) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, TypeError, ValueError, Image.DecompressionBombError):
        return 1  # none, or unreadable: as it is stored
