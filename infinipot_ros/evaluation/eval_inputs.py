# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Turn what a command line names into recordings with questions.

Either recordings, each with a file of questions in it or beside it; or a public benchmark's file
of questions and the folder of its videos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.outcome import LeftOut
from infinipot_ros.evaluation.question_files import find_questions, read_questions
from infinipot_ros.evaluation.recorded_stream import Recording
from infinipot_ros.recordings.sources import BAG_SUFFIXES, IMAGE_SUFFIXES

VIDEO_SUFFIXES = ('.mp4', '.mkv', '.webm', '.avi', '.mov', '.m4v', '.ts')


@dataclass(frozen=True)
class Wanted:
    """
    How every recording is to be read.

    :param fps: frames per second; None for all.
    :param max_frames: limit of frames; None for none.
    :param skip_missing: leave out, and count, what does not exist.
    :param output: folder for pictures.
    :param streams: limit of recordings; ``questions`` of questions of each; None for none.
    :param max_image_pixels: as ``open_source`` has it.
    """

    fps: float | None
    max_frames: int | None
    skip_missing: bool
    output: Path
    streams: int | None = None
    questions: int | None = None
    max_image_pixels: int | None = None


@dataclass(frozen=True)
class Found:
    """Recordings to watch, and those left out."""

    recordings: list[Recording]
    left_out: list[LeftOut]


def named_recordings(
    paths: Sequence[Path], topics: Sequence[str], question_files: Sequence[Path], wanted: Wanted,
) -> Found:
    """
    Find the recordings of paths.

    :param topics: image topics of bags, each a stream of its own; none where there is only one.
    :param question_files: none: those in or beside the recordings; one for all of them; or one
        for each.
    :raises SourceError: a recording or its questions are missing or unreadable.
    :raises ConfigurationError: the numbers of recordings and files do not match.
    """
    if not paths:
        raise ConfigurationError('there is nothing to watch; give a bag, a video or a folder')
    if len(question_files) not in (0, 1, len(paths)):
        raise ConfigurationError(
            f'{len(question_files)} files of questions for {len(paths)} recordings; give one for '
            'all, one for each, or none where they lie beside them')
    found = Found([], [])
    names = _names(paths)
    for index, path in enumerate(paths[:wanted.streams]):
        given = question_files[index % len(question_files)] if question_files else None
        try:
            recording, file = _located(path, given)
        except SourceError as error:
            if not wanted.skip_missing:
                raise
            found.left_out.append(LeftOut(
                names[index], _count_questions(path, given, wanted), str(error)))
            continue
        questions = read_questions(file)[:wanted.questions]
        for topic in topics or (None,):
            mark = '' if len(topics) < 2 else '/' + (topic or '').strip('/')
            found.recordings.append(Recording(
                names[index] + mark, as_text(file.stem), len(found.recordings), recording,
                questions, topic=topic, fps=wanted.fps, max_frames=wanted.max_frames,
                questions_path=str(file), skip_missing=wanted.skip_missing,
                question_files=(file,), output=wanted.output,
                max_image_pixels=wanted.max_image_pixels))
    return found


def watched_recordings(
    paths: Sequence[Path], topic: str | None, fps: float | None, max_image_pixels: int | None,
) -> list[Recording]:
    """
    Find recordings that no file of questions belongs to.

    :raises SourceError: one is missing, or a folder of several.
    :raises ConfigurationError: one is given twice.
    """
    found = []
    for number, (path, name) in enumerate(zip(paths, _names(paths))):
        if not path.exists():
            raise _missing(path)
        found.append(Recording(
            name, 'events', number, _recording_in(path), (), topic=topic, fps=fps,
            max_image_pixels=max_image_pixels))
    return found


def _missing(path: Path) -> SourceError:
    return SourceError(f'{path} does not exist: give a ROS 2 bag, a video or a folder of images')


def _count_questions(path: Path, given: Path | None, wanted: Wanted) -> int:
    """Count the questions about a recording that does not exist, if there are any."""
    file = given or find_questions(path)
    try:
        return len(read_questions(file)[:wanted.questions]) if file is not None else 0
    except SourceError:
        return 0


def _located(path: Path, given: Path | None) -> tuple[Path, Path]:
    """Find a recording and its questions."""
    if not path.exists():
        raise _missing(path)
    recording = _recording_in(path)
    file = given or find_questions(path) or find_questions(recording)
    if file is None:
        raise SourceError(
            f'{path}: no questions.jsonl or questions.yaml in it or beside it; give --questions')
    return recording, file


def _recording_in(path: Path) -> Path:
    """Look into a folder that holds one recording and its questions, as a tour is written."""
    if not path.is_dir() or (path / 'metadata.yaml').exists():
        return path
    children = [each for each in sorted(path.iterdir()) if not each.name.startswith('.')]
    if any(each.name.lower().endswith((*BAG_SUFFIXES, *IMAGE_SUFFIXES)) for each in children):
        return path
    inside = [each for each in children if each.suffix.lower() in VIDEO_SUFFIXES or (
        each.is_dir() and ((each / 'metadata.yaml').exists() or any(
            file.name.endswith(BAG_SUFFIXES) for file in each.iterdir())))]
    if len(inside) != 1:
        names = ', '.join(each.name for each in inside) or 'none'
        raise SourceError(f'{path} holds {len(inside)} recordings ({names}); name one of them')
    return inside[0]


def _names(paths: Sequence[Path]) -> list[str]:
    """Name recordings by the shortest ends of their paths that differ."""
    whole = [path.resolve() for path in paths]
    stems = [path.with_suffix('') if path.is_file() else path for path in whole]
    plain = [path if stems.count(stem) > 1 else stem for path, stem in zip(whole, stems)]
    for depth in range(1, max(len(path.parts) for path in plain) + 1):
        names = [as_text('/'.join(path.parts[-depth:])) for path in plain]
        if len(set(names)) == len(names):
            return names
    twice = Counter(plain).most_common(1)[0][0]
    raise ConfigurationError(f'{twice} is given twice; give each recording once')


def as_text(name: str) -> str:
    """Convert a file's name to text; bytes that are not UTF-8 are escaped."""
    return name.encode('utf-8', 'backslashreplace').decode()


def dataset_recordings(
    name: str, annotations: Path, videos: Path, wanted: Wanted,
) -> Found:
    """
    Find the videos of a public benchmark.

    :param name: the format, one of ``benchmarks.registry.FORMATS``.
    :param annotations: its file of questions.
    :raises SourceError: the file cannot be read, or a video is missing, or all are.
    :raises ConfigurationError: an unknown format.
    """
    from infinipot_ros.evaluation.benchmarks.registry import load

    if not videos.is_dir():
        raise SourceError(f'{videos} is not a folder; give --videos the folder of the videos')
    found, times = Found([], []), Counter[str]()
    for number, entry in enumerate(load(name, annotations), 1):
        if wanted.streams is not None and len(found.recordings) == wanted.streams:
            break
        times[entry.video] += 1
        again = f'#{times[entry.video]}' if times[entry.video] > 1 else ''
        stream, questions = f'{entry.video}{again}', entry.questions[:wanted.questions]
        path = _video(videos, entry.video)
        if path is None:
            missing = (
                f'{annotations}, video {number}: {entry.video} of {len(entry.questions)} '
                f'questions is not in {videos}')
            if not wanted.skip_missing:
                raise SourceError(
                    f'{missing}; download it, or --skip-missing to leave its questions out')
            found.left_out.append(LeftOut(stream, len(questions), missing))
            continue
        found.recordings.append(Recording(
            stream, name, len(found.recordings), path, questions, fps=wanted.fps,
            max_frames=wanted.max_frames, start_ns=entry.start_ns, end_ns=entry.end_ns,
            clock=entry.questions[0].clock, questions_path=str(annotations),
            skip_missing=wanted.skip_missing,
            question_files=(annotations,) if annotations.is_file() else (),
            output=wanted.output, max_image_pixels=wanted.max_image_pixels))
    if not found.recordings:
        raise SourceError(
            f'not one of the {len(found.left_out)} videos of {annotations} is in {videos}')
    return found


def _video(folder: Path, name: str) -> Path | None:
    """Find a video; a benchmark may name it without its extension, or with folders before it."""
    for base in (folder / name, folder / Path(name).name):
        for path in (base, *(base.with_name(base.name + suffix) for suffix in VIDEO_SUFFIXES)):
            if path.exists() and path != folder:
                return path
    return None
