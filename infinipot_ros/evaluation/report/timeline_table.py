# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What a memory held and cost while it watched: ``timeline.jsonl`` read back and summed up.

There may be a great many samples, so they are read one after another, and only those of the
streams that are drawn are kept.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.run_store import TIMELINE, write_whole
from infinipot_ros.evaluation.variants import Variant

STAGES = ('encode', 'prefill', 'compress')


def stage_ms(sample: Sample, stage: str) -> float:
    """Tell the milliseconds a stage took since the sample before; 0 where they are not known."""
    return float(getattr(sample, f'{stage}_ms') or 0.0)


@dataclass
class Track:
    """
    One cell's way through one stream.

    :param stage_ms: milliseconds of each stage, in all.
    :param samples: in order; empty where only sums are wanted.
    """

    stream: str
    cell: Variant
    frames: int = 0
    skipped: int = 0
    dropped: int = 0
    seconds: float = 0.0
    start_ns: int = 0
    most_tokens: int = 0
    most_bytes: int = 0
    most_rss: int = 0
    stage_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Take the next sample."""
        self.frames, self.seconds = sample.frames, sample.t_s
        self.skipped, self.dropped = sample.skipped, sample.dropped
        self.start_ns = sample.stamp_ns - round(1e9 * sample.t_s)
        self.most_tokens = max(self.most_tokens, sample.tokens)
        self.most_bytes = max(self.most_bytes, sample.bytes)
        self.most_rss = max(self.most_rss, sample.rss_bytes or 0)
        for stage in STAGES:
            self.stage_ms[stage] += stage_ms(sample, stage)


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read the samples of a folder, none where there are none; a line cut off is left out."""
    path = folder / TIMELINE
    if not path.exists():
        return
    with path.open(encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if line.endswith('\n'):
                yield Sample(**json.loads(line))


def read_tracks(folder: Path, streams: frozenset[str] = frozenset()) -> list[Track]:
    """
    Sum up the samples of a folder.

    :param streams: those whose samples are kept.
    :return: in the order in which they began; what a run began again counts from there.
    """
    tracks: dict[tuple[str, Variant], Track] = {}
    for sample in read_samples(folder):
        key = sample.stream, Variant(sample.policy, sample.budget)
        track = tracks.get(key)
        if track is None or sample.frames < track.frames:
            track = tracks[key] = Track(*key)
        track.add(sample)
        if track.stream in streams:
            track.samples.append(sample)
    return list(tracks.values())


def write_csv(folder: Path) -> bool:
    """Write ``timeline.csv``; False, and no file, where there is no sample."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Sample)], lineterminator='\n')
    writer.writeheader()
    count = 0
    for sample in read_samples(folder):
        writer.writerow(vars(sample))
        count += 1
    if count:
        write_whole(folder / 'timeline.csv', text.getvalue())
    return bool(count)
