# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Open a recording: a bag, a video or a folder of images, whichever a path turns out to be."""

from __future__ import annotations

from pathlib import Path

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.recordings.frame_source import FrameSource

BAG_SUFFIXES = ('.mcap', '.db3', '.mcap.zstd', '.db3.zstd')
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
_PACKAGES = {'PIL': 'pillow', 'backports': 'backports.zstd', 'yaml': 'pyyaml'}


def open_source(
    path: str | Path, *, fps: float | None = None, topic: str | None = None,
    max_image_pixels: int | None = None,
) -> FrameSource:
    """
    Open a recording.

    :param path: a ROS 2 bag (its directory, or one file: ``.mcap`` or ``.db3``, and perhaps
        ``.zstd``), a video file, a folder of jpeg or png images, or one such image.
    :param fps: frames per second to take, by their stamps; ``None`` takes all. The images of a
        folder, which have no stamps, are placed ``1 / fps`` seconds apart (2 a second by default).
    :param topic: the image topic of a bag; optional where there is only one.
    :param max_image_pixels: limit of a frame's width times height; None: that of the node's
        ``ingest.max_image_pixels`` by default.
    :returns: the source; only its header has been read.
    :raises SourceError: nothing there can be read as frames.
    :raises ConfigurationError: ``fps`` is not a usable rate, or a library is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(
            f'{path} does not exist: give a ROS 2 bag, a video or a folder of images')
    # Each format's library is imported only when it is needed.
    try:
        return _open(path, fps, topic, max_image_pixels)
    except ImportError as error:
        library = (error.name or '').partition('.')[0]
        raise ConfigurationError(
            f'{library} is missing, which reads {path}: pip install '
            f'{_PACKAGES.get(library, library)}') from error


def _open(
    path: Path, fps: float | None, topic: str | None, max_image_pixels: int | None,
) -> FrameSource:
    bag = _find_bag(path)
    if bag is not None:
        from infinipot_ros.recordings.bags import BagSource

        return BagSource(bag, fps=fps, topic=topic, max_image_pixels=max_image_pixels)
    if topic is not None:
        raise SourceError(f'{path} is not a ROS 2 bag, so it has no topic {topic}: omit topic')
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        from infinipot_ros.recordings.folders import FolderSource

        return FolderSource(
            path, suffixes=IMAGE_SUFFIXES, fps=fps, max_image_pixels=max_image_pixels)
    from infinipot_ros.recordings.videos import VideoSource

    return VideoSource(path, fps=fps, max_image_pixels=max_image_pixels)


def _find_bag(path: Path) -> Path | None:
    """Return what to open of a bag at ``path``, or ``None`` where there is no bag."""
    if path.is_file():
        if path.suffix == '.bag':
            raise SourceError(
                f'{path} is a ROS 1 bag: convert it with '
                f'`rosbags-convert --src {path} --dst {path.with_suffix("")}`')
        if path.name == 'metadata.yaml':
            return path.parent
        return path if path.name.endswith(BAG_SUFFIXES) else None
    if (path / 'metadata.yaml').exists():
        return path
    files = sorted(file for file in path.iterdir() if file.name.endswith(BAG_SUFFIXES))
    if len(files) > 1:
        raise SourceError(
            f'{path} holds {len(files)} bag files but no metadata.yaml, so their order is '
            f'unknown: run `ros2 bag reindex {path}`, or give one of the files')
    # A recording that was interrupted has its file, but no metadata yet.
    return files[0] if files else None
