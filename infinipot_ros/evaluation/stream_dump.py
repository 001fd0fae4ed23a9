# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The visual tokens of a stream on disk, for runs that need neither its frames nor a vision tower.

A dump is a folder: ``tokens-*.safetensors`` holds what each call of the vision tower returned,
``frames.safetensors`` a line a frame (stamp, sizes, digest), ``pictures.safetensors`` the
questions' pictures, and ``dump.json``, written last, what it was made with. It knows every frame
by a digest of its pixels. ``loaded_dumps`` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file
from torch import Tensor

from infinipot_ros.errors import ConfigurationError, FrameError
from infinipot_ros.evaluation.encodings import Call, frame_digest
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.recorded_stream import (
    RecordedStream,
    file_name,
)
from infinipot_ros.evaluation.run_store import write_whole
from infinipot_ros.evaluation.stream import Stream, StreamInfo
from infinipot_ros.visual_memory.frame import Frame

VERSION = 1
SHARD_BYTES = 2 ** 28
HEADER, FRAME_TABLE, PICTURES = 'dump.json', 'frames.safetensors', 'pictures.safetensors'

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """What the vision tower made of a call: ``[grids, rows * columns, hidden]``."""

    tokens: Tensor
    rows: int
    columns: int


def dump_folder(folder: Path, stream: str) -> Path:
    """Tell where the dump of a stream lies."""
    return folder / file_name(stream)


class DumpingStream(Stream):
    """
    A recorded stream whose visual tokens are dumped while its cells watch.

    :param folder: of this stream's dump; an older one is replaced.
    :param made_with: what the tokens depend on, plain values; compared when it is loaded.
    :param max_pixels: as the memories have it.
    """

    def __init__(
        self, stream: RecordedStream, folder: Path, made_with: Mapping[str, Any], max_pixels: int,
    ) -> None:
        self._stream, self._folder, self._made_with = stream, folder, dict(made_with)
        self._max_pixels = max_pixels
        self.name, self.suite, self.seed = stream.name, stream.suite, stream.seed
        self.questions, self.questions_path = stream.questions, stream.questions_path
        self.skip_missing = stream.skip_missing
        self._model: Any = None
        self._store: _DumpStore | None = None

    def __iter__(self) -> Iterator[Frame]:
        """Walk through the frames."""
        return iter(self._stream)

    def survey(self) -> StreamInfo:
        """Tell what there is."""
        return self._stream.survey()

    @property
    def skipped(self) -> int:
        """Frames of this walk that the rate left out."""
        return self._stream.skipped

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames of this walk that could not be read."""
        return self._stream.dropped

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The recording's files and those of its questions."""
        return self._stream.inputs

    @property
    def pictures(self) -> Mapping[str, str]:
        """Where each question's picture is."""
        return self._stream.pictures

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Keep tokens in the dump."""
        self._model, self._store = model, _DumpStore(self._folder)
        return (self._store,)

    def close(self) -> None:
        """
        Complete the dump.

        :raises ConfigurationError: it cannot be written.
        """
        assert self._store is not None
        self._store.flush()
        table = self._frame_table()
        survey = self.survey()
        recording = self._stream.recording
        header = {
            'version': VERSION, 'made_with': self._made_with,
            'inputs': described(recording.path),
            'survey': {
                'first_ns': survey.first_ns, 'last_ns': survey.last_ns,
                'origin_ns': survey.origin_ns, 'digest': survey.digest,
                'frames': survey.frames,
                'stretches': [asdict(each) for each in survey.stretches.found]},
            'skipped': self.skipped, 'dropped': dict(self.dropped),
            'cameras': table.pop('cameras'),
            'calls': self._store.calls(table['digests'])}
        try:
            save_arrays(table, self._folder / FRAME_TABLE)
            if recording.output is not None:
                save_arrays({
                    name: np.frombuffer((recording.output / path).read_bytes(), np.uint8)
                    for name, path in self.pictures.items() if (recording.output / path).exists()},
                    self._folder / PICTURES)
            write_whole(self._folder / HEADER, json.dumps(header) + '\n')
        except (OSError, SafetensorError) as error:
            raise unwritable(self._folder, error) from error

    def _frame_table(self) -> dict[str, Any]:
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
            'cameras': list(cameras)}


class _DumpStore:
    """Writes blocks of visual tokens as they come, and gives them back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[Call, tuple[str, int, int, int]] = {}
        self._fresh: dict[str, Tensor] = {}
        self._fresh_bytes = self._count = 0
        self._open: dict[int, Any] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / HEADER).unlink(missing_ok=True)
            for old in folder.glob('tokens-*.safetensors'):
                old.unlink()
        except OSError as error:
            raise unwritable(folder, error) from error

    def get(self, call: Call) -> Block | None:
        if call not in self._shards:
            return None
        name, shard, rows, columns = self._shards[call]
        if name in self._fresh:
            return Block(self._fresh[name], rows, columns)
        if shard not in self._open:
            self._open[shard] = safe_open(shard_path(self._folder, shard), 'pt')
        return Block(self._open[shard].get_tensor(name), rows, columns)

    def put(self, call: Call, block: Any) -> None:
        name = f'{len(self._shards):09d}'
        self._shards[call] = (name, self._count, block.rows, block.columns)
        self._fresh[name] = block.tokens.contiguous()
        self._fresh_bytes += block.tokens.numel() * block.tokens.element_size()
        if self._fresh_bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        if not self._fresh:
            return
        try:
            save_file(self._fresh, shard_path(self._folder, self._count))
        except (OSError, SafetensorError) as error:
            raise unwritable(self._folder, error) from error
        self._fresh, self._fresh_bytes = {}, 0
        self._count += 1

    def calls(self, digests: Pixels) -> list[list[Any]]:
        """List the calls: name, shard, rows, columns, and the numbers of its frames."""
        numbers = frame_numbers(digests)
        return [[*where, [numbers[digest] for digest in call]]
                for call, where in self._shards.items()]


def frame_numbers(digests: Pixels) -> dict[bytes, int]:
    """Number frames by when their like was first seen."""
    numbers: dict[bytes, int] = {}
    for number, digest in enumerate(digests):
        numbers.setdefault(digest.tobytes(), number)
    return numbers


def shard_path(folder: Path, number: int) -> Path:
    """Name one of the files of tokens."""
    return folder / f'tokens-{number:05d}.safetensors'


def unwritable(folder: Path, error: Exception) -> ConfigurationError:
    """Say that a folder cannot be written, and why."""
    # safetensors tells of a full disk in words only.
    told = str(getattr(error, 'strerror', None) or error)
    space = 'free some space, or ' if 'space left' in told or 'quota' in told.lower() else ''
    return ConfigurationError(f'{folder} cannot be written: {told}; {space}give another folder')
