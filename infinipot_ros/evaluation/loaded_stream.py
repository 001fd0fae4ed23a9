# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
A dumped stream as a stream: no frame is decoded, no vision tower runs.

Frames are stand-ins of the size at which they are encoded, whose first bytes are the digest of the
true pixels; by it their tokens are found. A call of the vision tower that was not dumped is put
together from its grids; tokens are then the same but for how a device sums up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.encodings import DIGEST_BYTES, Call
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.recorded_stream import Recording, picture_path
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.evaluation.stream_dump import (
    FRAME_TABLE,
    HEADER,
    PICTURES,
    VERSION,
    Block,
    Pixels,
    frame_numbers,
    shard_path,
    unwritable,
)
from infinipot_ros.evaluation.stream_info import StreamInfo, Stretches
from infinipot_ros.visual_memory.frame import Frame
from infinipot_ros.visual_memory.memory_config import FRAMES_PER_GRID


class LoadedStream(Stream):
    """
    A dumped stream, with questions of now.

    :param recording: what the questions are about; it need not be there any more.
    :param folder: of this stream's dump.
    :param made_with: what the tokens depend on now.
    :raises SourceError: there is no dump, it is damaged, or the recording is another one now.
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
            self._header = json.loads((folder / HEADER).read_text(encoding='utf-8'))
            self._check(folder, made_with)
            self._table = load_file(folder / FRAME_TABLE)
            self._tokens = _LoadedTokens(folder, self._header['calls'], self._table['digests'])
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
        then = {'version': self._header['version']} | self._header['made_with']
        now = {'version': VERSION, **made_with}
        differing = [f'{name} {then.get(name)!r} became {now.get(name)!r}'
                     for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
        if differing:
            raise ConfigurationError(
                f'the dump {folder} was made with other settings ({", ".join(differing)}); make '
                'it again with --dump')
        path = self.recording.path
        if not path.exists():
            return
        if [each['sha256'] for each in described(path)] != [
                each['sha256'] for each in self._header['inputs']]:
            raise SourceError(
                f'{path} is not the recording that {folder} was made from; make the dump again '
                'with --dump')

    def __iter__(self) -> Iterator[Frame]:
        """Walk through stand-ins of the frames."""
        cameras = self._header['cameras']
        for stamp_ns, size, digest, camera in zip(
                self._table['stamps'].tolist(), self._table['sizes'].tolist(),
                self._table['digests'], self._table['camera'].tolist()):
            rgb = np.zeros((*size[2:], 3), np.uint8)
            rgb.reshape(-1)[:DIGEST_BYTES] = digest
            yield Frame(rgb, stamp_ns, cameras[camera])

    def survey(self) -> StreamInfo:
        """Tell what there was when it was dumped."""
        told = self._header['survey']
        stretches = Stretches.of(told['stretches'])
        return StreamInfo(
            stretches, told['first_ns'], told['last_ns'], told['origin_ns'], told['digest'])

    @property
    def skipped(self) -> int:
        """Frames the rate left out when it was dumped."""
        return int(self._header['skipped'])

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that could not be read when it was dumped."""
        dropped: Mapping[str, int] = self._header['dropped']
        return dropped

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The recording's files as they were, and those of its questions."""
        return [*self._header['inputs'], *(
            each for path in self.recording.question_files for each in described(path))]

    @property
    def pictures(self) -> Mapping[str, str]:
        """Where each question's picture is; those that were dumped are written first."""
        output, found = self.recording.output, {}
        for question in self.questions:
            if output is None or question.id not in self._pictures:
                continue
            found[question.id] = picture_path(self.name, question.id)
            path = output / found[question.id]
            # Also in place of an older one: it may be of another recording of that name.
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._pictures[question.id].tobytes())
            except OSError as error:
                raise unwritable(path, error) from error
        return found

    def kept(self, model: Any) -> tuple[Any, ...]:
        """Take tokens from the dump; nothing is encoded."""
        self._tokens.device = model.device
        return (self._tokens, _told_digest)


class _LoadedTokens:
    """Blocks of a dump, whole or put together from their grids."""

    def __init__(self, folder: Path, calls: Sequence[Sequence[Any]], digests: Pixels) -> None:
        self._folder = folder
        self._numbers = frame_numbers(digests)
        self._calls: dict[tuple[int, ...], tuple[str, int, int, int]] = {}
        self._grids: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {}
        self._open: dict[int, Any] = {}
        self.device = torch.device('cpu')
        for name, shard, rows, columns, frames in calls:
            key = tuple(frames)
            self._calls[key] = (name, shard, rows, columns)
            for index in range(0, len(key), FRAMES_PER_GRID):
                self._grids.setdefault(
                    key[index:index + FRAMES_PER_GRID], (key, index // FRAMES_PER_GRID))

    def get(self, call: Call) -> Block:
        try:
            key = tuple(self._numbers[digest] for digest in call)
            if key in self._calls:
                return self._block(key)
            found = [self._grids[key[index:index + FRAMES_PER_GRID]]
                     for index in range(0, len(key), FRAMES_PER_GRID)]
        except KeyError as error:
            raise SourceError(
                f'{self._folder} lacks the tokens of frame {error.args[0]!r}, as a question at '
                'that time needs them; make the dump again with --dump') from error
        blocks = [(self._block(whole), grid) for whole, grid in found]
        tokens = torch.cat([block.tokens[grid:grid + 1] for block, grid in blocks])
        return replace(blocks[0][0], tokens=tokens)

    def put(self, call: Call, block: Any) -> None:
        """Keep nothing: all there is came from the dump."""

    def _block(self, key: tuple[int, ...]) -> Block:
        name, shard, rows, columns = self._calls[key]
        try:
            if shard not in self._open:
                self._open[shard] = safe_open(shard_path(self._folder, shard), 'pt')
            tokens = self._open[shard].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise SourceError(
                f'{shard_path(self._folder, shard)} is damaged ({error}); make the dump again '
                'with --dump') from error
        return Block(tokens.to(self.device), rows, columns)


def _told_digest(stand_in: Pixels) -> bytes:
    return stand_in.reshape(-1)[:DIGEST_BYTES].tobytes()
