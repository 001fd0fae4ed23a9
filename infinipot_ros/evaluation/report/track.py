# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What memories held and cost while they watched, read back from ``timeline.jsonl``.

There may be very many samples, so they are read one after another, and only those of the streams
that are drawn are kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path

from infinipot_ros.evaluation.memory_timeline import Sample
from infinipot_ros.evaluation.report.formatting import csv_text
from infinipot_ros.evaluation.run_store import TIMELINE, write_whole
from infinipot_ros.evaluation.variants import Variant

STAGES = ('encode', 'prefill', 'compress')


def stage_ms(sample: Sample, stage: str) -> float:
    """Return the milliseconds a stage took since the last sample; 0 where unknown."""
    return float(getattr(sample, f'{stage}_ms') or 0.0)


@dataclass
class Track:
    """
    One variant's run over one stream.

    :param last: the last sample: its counts are those of the whole run.
    :param max_tokens: maxima over all samples; ``max_rss`` is 0 where unknown.
    :param stage_ms: milliseconds of each stage, summed.
    :param samples: in order; empty where only sums are wanted.
    """

    stream: str
    variant: Variant
    last: Sample
    max_tokens: int = 0
    max_bytes: int = 0
    max_rss: int = 0
    stage_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    samples: list[Sample] = field(default_factory=list)

    @property
    def start_ns(self) -> int:
        """Stamp of the stream's first frame."""
        return self.last.stamp_ns - round(1e9 * self.last.t_s)

    @property
    def timed(self) -> bool:
        """Whether the times of its stages are known."""
        return any(self.stage_ms.values())

    def add(self, sample: Sample) -> None:
        """Add the next sample to the sums."""
        self.last = sample
        self.max_tokens = max(self.max_tokens, sample.tokens)
        self.max_bytes = max(self.max_bytes, sample.bytes)
        self.max_rss = max(self.max_rss, sample.rss_bytes or 0)
        for stage in STAGES:
            self.stage_ms[stage] += stage_ms(sample, stage)


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read the samples of a folder, if it has any; a line that was cut off is skipped."""
    path = folder / TIMELINE
    if not path.exists():
        return
    with path.open(encoding='utf-8', errors='replace') as lines:
        for line in lines:
            if line.endswith('\n'):
                yield Sample(**json.loads(line))


def read_tracks(folder: Path, streams: Collection[str] = ()) -> list[Track]:
    """
    Sum up the samples of a folder.

    :param streams: those whose samples are kept.
    :return: in the order in which they began; a run that was restarted counts from its restart.
    """
    tracks: dict[tuple[str, Variant], Track] = {}
    for sample in read_samples(folder):
        key = sample.stream, Variant(sample.policy, sample.budget)
        track = tracks.get(key)
        if track is None or sample.frames < track.last.frames:
            track = tracks[key] = Track(*key, sample)
        track.add(sample)
        if track.stream in streams:
            track.samples.append(sample)
    return list(tracks.values())


def write_csv(folder: Path) -> bool:
    """Write ``timeline.csv``; return False, without a file, if there is no sample."""
    samples = read_samples(folder)
    first = next(samples, None)
    if first is None:
        return False
    write_whole(folder / 'timeline.csv', csv_text(
        [each.name for each in fields(Sample)], map(vars, chain([first], samples))))
    return True
