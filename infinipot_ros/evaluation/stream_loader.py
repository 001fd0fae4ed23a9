# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the recordings of a run become streams, in whichever process: bare, dumped or loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinipot_ros.evaluation.loaded_stream import LoadedStream
from infinipot_ros.evaluation.recorded_stream import RecordedStream, Recording
from infinipot_ros.evaluation.stream import Stream
from infinipot_ros.evaluation.stream_dump import DumpingStream, dump_folder


@dataclass(frozen=True)
class StreamLoader:
    """
    Makes the streams of a run, in whichever process.

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
            'start_ns': recording.start_ns, 'end_ns': recording.end_ns,
            'clock': recording.clock}
        if self.load_dumped is not None:
            return LoadedStream(
                recording, dump_folder(self.load_dumped, recording.name), made_with)
        stream = RecordedStream(recording)
        if self.dump is None:
            return stream
        return DumpingStream(
            stream, dump_folder(self.dump, recording.name), made_with, self.max_pixels)
