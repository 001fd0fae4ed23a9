# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Dump a stream's visual tokens, and replay a dump without frames or vision tower.

A dump is a folder: ``tokens-*.safetensors`` holds what each call of the vision tower returned,
``frames.safetensors`` a row per frame (stamp, sizes, digest of the pixels),
``pictures.safetensors`` the questions' pictures, and ``dump.json``, written last, what it was made
with.

When it is loaded, frames are placeholders of the size at which they are encoded, whose first bytes
are the digest of the true pixels; their tokens are found by it. A call of the vision tower that
was not dumped is joined from the grids of others; its tokens are then equal up to the order in
which a device sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from infinipot_ros.errors import ConfigurationError, FrameError, SourceError
from infinipot_ros.evaluation.encodings import (
    DIGEST_BYTES,
    DumpedTokens,
    LoadedTokens,
    Pixels,
    frame_digest,
    unwritable,
)
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.recorded_stream import (
    RecordedStream,
    Recording,
    file_name,
    picture_path,
)
from infinipot_ros.evaluation.run_store import write_whole
from infinipot_ros.evaluation.stream import Segments, Stream, StreamInfo
from infinipot_ros.visual_memory.frame import Frame

VERSION = 1
HEADER, FRAME_TABLE, PICTURES = 'dump.json', 'frames.safetensors', 'pictures.safetensors'


class DumpedInfo(BaseModel):
    """A ``StreamInfo`` as ``dump.json`` holds it."""

    first_ns: int
    last_ns: int
    origin_ns: int
    digest: str
    frames: int
    stretches: list[dict[str, int | str]]


class DumpHeader(BaseModel):
    """The fields of ``dump.json``; a call is name, file, rows, columns and numbers of frames."""

    version: int
    made_with: dict[str, Any]
    inputs: list[dict[str, Any]]
    survey: DumpedInfo
    skipped: int
    dropped: dict[str, int]
    cameras: list[str]
    calls: list[tuple[str, int, int, int, list[int]]]


def dump_folder(folder: Path, stream: str) -> Path:
    """Return the folder of a stream's dump."""
    return folder / file_name(stream)


@dataclass(frozen=True)
class StreamLoader:
    """
    Make the streams of a run, in whichever process: plain, dumping or loaded.

    :param made_with: what visual tokens depend on besides the frames.
    """

    recordings: tuple[Recording, ...]
    made_with: dict[str, Any]
    max_pixels: int
    dump: Path | None
    load_dumped: Path | None

    def __call__(self, suite: str, seed: int) -> Stream:
        """Make the stream of a recording, by its number."""
        [recording] = [each for each in self.recordings if each.seed == seed]
        made_with = self.made_with | {
            'topic': recording.topic, 'fps': recording.fps, 'max_frames': recording.max_frames,
            'start_ns': recording.start_ns, 'end_ns': recording.end_ns, 'clock': recording.clock}
        if self.load_dumped is not None:
            return LoadedStream(
                recording, dump_folder(self.load_dumped, recording.name), made_with)
        if self.dump is None:
            return RecordedStream(recording)
        return DumpingStream(
            recording, dump_folder(self.dump, recording.name), made_with, self.max_pixels)


class DumpingStream(RecordedStream):
    """
    A recorded stream whose visual tokens are dumped while its variants watch.

    :param folder: of this stream's dump; an older one is replaced.
    :param made_with: what the tokens depend on, plain values; compared when it is loaded.
    :param max_pixels: as the memories have it.
    """

    def __init__(
        self, recording: Recording, folder: Path, made_with: Mapping[str, Any], max_pixels: int,
    ) -> None:
        super().__init__(recording)
        self._folder, self._made_with = folder, dict(made_with)
        self._max_pixels = max_pixels
        self._model: Any = None
        self._tokens: DumpedTokens | None = None

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Keep tokens in the dump."""
        try:
            (self._folder / HEADER).unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        self._model, self._tokens = model, DumpedTokens(self._folder)
        return (self._tokens,)

    def close(self) -> None:
        """
        Complete the dump.

        :raises ConfigurationError: it cannot be written.
        """
        assert self._tokens is not None
        self._tokens.flush()
        table, cameras = self._frame_table()
        info, output = self.survey(), self.recording.output
        header = DumpHeader(
            version=VERSION, made_with=self._made_with, inputs=described(self.recording.path),
            survey=DumpedInfo(
                first_ns=info.first_ns, last_ns=info.last_ns, origin_ns=info.origin_ns,
                digest=info.digest, frames=info.frames,
                stretches=[asdict(each) for each in info.segments.found]),
            skipped=self.skipped, dropped=dict(self.dropped), cameras=cameras,
            calls=self._tokens.calls(table['digests']))
        try:
            save_file(table, self._folder / FRAME_TABLE)
            if output is not None:
                save_file({
                    name: np.frombuffer((output / path).read_bytes(), np.uint8)
                    for name, path in self.pictures.items() if (output / path).exists()},
                    self._folder / PICTURES)
            write_whole(self._folder / HEADER, json.dumps(header.model_dump()) + '\n')
        except (OSError, SafetensorError) as error:
            raise unwritable(self._folder, error) from error

    def _frame_table(self) -> tuple[dict[str, Any], list[str]]:
        stamps, sizes, digests, of_camera = [], [], [], []
        cameras: dict[str, int] = {}
        for frame in self:
            try:
                pixels = self._model.fit(frame.rgb, self._max_pixels).cpu().numpy()
            except FrameError:
                continue
            stamps.append(frame.stamp_ns)
            sizes.append([*frame.rgb.shape[:2], *pixels.shape[:2]])
            digests.append(np.frombuffer(frame_digest(pixels), np.uint8))
            of_camera.append(cameras.setdefault(frame.camera, len(cameras)))
        return {
            'stamps': np.array(stamps, np.int64), 'sizes': np.array(sizes, np.int32),
            'digests': np.stack(digests), 'camera': np.array(of_camera, np.int32),
        }, list(cameras)


class LoadedStream(Stream):
    """
    A dumped stream, with current questions.

    :param recording: what the questions are about; its file need not exist any more.
    :param folder: of this stream's dump.
    :param made_with: what the tokens depend on now.
    :raises SourceError: there is no dump, it is damaged, or the recording has changed.
    :raises ConfigurationError: it was made with other settings.
    """

    def __init__(
        self, recording: Recording, folder: Path, made_with: Mapping[str, Any],
    ) -> None:
        self.recording = recording
        self.name, self.suite, self.seed = recording.name, recording.suite, recording.seed
        self.questions = recording.questions
        self.questions_path, self.skip_missing = recording.questions_path, recording.skip_missing
        try:
            # Not pydantic's JSON, which has no file names that are not UTF-8.
            self._header = DumpHeader(**json.loads(
                (folder / HEADER).read_text(encoding='utf-8')))
            self._check(folder, made_with)
            self._table = load_file(folder / FRAME_TABLE)
            self._tokens = LoadedTokens(folder, self._header.calls, self._table['digests'])
            self._pictures = (
                load_file(folder / PICTURES) if (folder / PICTURES).exists() else {})
        except FileNotFoundError as error:
            raise SourceError(
                f'{folder} holds no complete dump of {self.name} ({error.filename} is missing); '
                'make it with --dump') from error
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise SourceError(
                f'{folder} holds a damaged dump of {self.name} ({type(error).__name__}: {error}); '
                'make it again with --dump') from error

    def _check(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        then = {'version': self._header.version} | self._header.made_with
        now = {'version': VERSION, **made_with}
        differing = [f'{name} {then.get(name)!r} became {now.get(name)!r}'
                     for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if differing:
            raise ConfigurationError(
                f'the dump {folder} was made with other settings ({", ".join(differing)}); make '
                'it again with --dump')
        path = self.recording.path
        if path.exists() and [each['sha256'] for each in described(path)] != [
                each['sha256'] for each in self._header.inputs]:
            raise SourceError(
                f'{path} is not the recording that {folder} was made from; make the dump again '
                'with --dump')

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over placeholders of the frames."""
        for stamp_ns, size, digest, camera in zip(
                self._table['stamps'].tolist(), self._table['sizes'].tolist(),
                self._table['digests'], self._table['camera'].tolist()):
            rgb = np.zeros((*size[2:], 3), np.uint8)
            rgb.reshape(-1)[:DIGEST_BYTES] = digest
            yield Frame(rgb, stamp_ns, self._header.cameras[camera])

    def survey(self) -> StreamInfo:
        """Return what it held when it was dumped."""
        info = self._header.survey
        return StreamInfo(
            Segments.of(info.stretches), info.first_ns, info.last_ns, info.origin_ns, info.digest)

    @property
    def skipped(self) -> int:
        """Frames that the rate left out when it was dumped."""
        return self._header.skipped

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that could not be read when it was dumped."""
        return self._header.dropped

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The recording's files as they were, and those of its questions."""
        return [*self._header.inputs, *(
            each for path in self.recording.question_files for each in described(path))]

    @property
    def pictures(self) -> Mapping[str, str]:
        """
        Paths of the questions' pictures, which are written from the dump first.

        :raises ConfigurationError: they cannot be written.
        """
        output, found = self.recording.output, {}
        for question in self.questions:
            if output is None or question.id not in self._pictures:
                continue
            found[question.id] = picture_path(self.name, question.id)
            path = output / found[question.id]
            # Replaces an older one: it may be of another recording of that name.
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._pictures[question.id].tobytes())
            except OSError as error:
                raise unwritable(path, error) from error
        return found

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Take tokens from the dump; nothing is encoded."""
        tokens = self._tokens.use(model.device, model.family.FRAMES_PER_GRID)
        return (tokens, _placeholder_digest)


def _placeholder_digest(placeholder: Pixels) -> bytes:
    return placeholder.reshape(-1)[:DIGEST_BYTES].tobytes()
