# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Streams of hours, made of short films: what a memory is worth after 10 minutes, or a day.

``long`` is a tour of a house that takes more than an hour and a half. ``hours`` is a short tour
and then a view in which nothing happens, for four hours at two frames a second. ``day`` is a view
into which something comes a few times in 24 hours, for 4 to 12 frames each, at a frame a second.

Where nothing happens a few frames with their own camera noise are shown again and again, so that
hours take no more disk and memory than their film.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.quality_streams import as_question, load_film, stream_name
from infinipot_ros.evaluation.stream import QualityStream
from tools.tiny_model.evidence import Sightings
from tools.tiny_model.exam import (
    examine_counts,
    examine_now,
    examine_suite,
    sight_until,
    tour_question,
)
from tools.tiny_model.questions import NOT_SEEN, ask
from tools.tiny_model.suites import make_stream
from tools.tiny_model.tour import START_NS, Tour

MINUTE_NS = 60_000_000_000
LONG, HOURS, DAY = 'long', 'hours', 'day'
LONG_SUITES = (LONG, HOURS, DAY)
COUNTS = 'running count'
LONG_DELAYS = (100, 1000, 10_000)
# Frames of a view in which nothing happens.
STILL = 32
HOURS_KINDS = ('colour', 'room', 'seen', 'count', 'order')
DAY_KINDS = ('colour', 'seen', 'count', 'order')
# After which shares of the day it is asked about.
DAY_SHARES = (0.7, 0.85, 1.0)


@dataclass(frozen=True)
class Lengths:
    """
    How long the streams are.

    :param long: frames of ``long``.
    :param minutes: of ``hours``, after which its tour, of ``tour`` frames, is asked about.
    :param day: frames of ``day``, made of a film of ``day_film``.
    """

    long: int = 12_000
    minutes: tuple[int, ...] = (10, 30, 60, 120, 240)
    day: int = 86_400
    day_film: int = 3_600
    tour: int = 600

    def frames(self, suite: str) -> int:
        """Return the frames of a stream of a suite."""
        return {LONG: self.long, HOURS: self.tour + 120 * max(self.minutes), DAY: self.day}[suite]


class ShownAgain(Sequence[npt.NDArray[np.uint8]]):
    """
    Frames of a film in another order, some of them many times.

    :param order: for each frame of the stream, which one of the film it is.
    """

    def __init__(self, film: npt.NDArray[np.uint8], order: npt.NDArray[np.int64]) -> None:
        self._film, self._order = film, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: Any) -> Any:
        return self._film[self._order[index]]

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return (self._film[number] for number in self._order)


def load_long_stream(
    suite: str, seed: int, *, lengths: Lengths, questions: int, cache: Path | None,
) -> QualityStream:
    """
    Make a stream of ``LONG_SUITES``, with its questions.

    :param questions: at the ages of ``long``; of the others as many as they have.
    :raises ConfigurationError: no such seed, or the renderer does not work here.
    """
    made = {LONG: _long, HOURS: _hours, DAY: _day}[suite]
    return made(seed, lengths, questions, cache)


def _long(seed: int, lengths: Lengths, questions: int, cache: Path | None) -> QualityStream:
    drive = make_stream('tour', seed, lengths.long)
    shots = load_film(drive, cache)
    asked = [as_question(each) for each in (
        *examine_suite('tour', drive, shots, questions, delays=LONG_DELAYS),
        *examine_now('tour', drive, shots, questions // 2))]
    asked += [replace(as_question(each), suite=COUNTS)
              for each in examine_counts('tour', drive, shots, questions // 2)]
    return QualityStream(
        stream_name(LONG, seed), LONG, seed, shots.frames, drive.stamps_ns.tolist(), asked)


def _hours(seed: int, lengths: Lengths, _: int, cache: Path | None) -> QualityStream:
    drive = make_stream('tour', seed, lengths.tour)
    still = np.tile(drive.poses[-1], (STILL, 1))
    shots = load_film(replace(drive, poses=np.concatenate([drive.poses, still])), cache)
    order = np.arange(lengths.frames(HOURS))
    order[lengths.tour:] = lengths.tour + np.arange(len(order) - lengths.tour) % STILL
    stamps = drive.stamps_ns[0] + np.arange(len(order)) * (MINUTE_NS // 120)
    filmed = replace(drive, stamps_ns=stamps)
    seen, last = Sightings(shots), lengths.tour - 1
    asked = []
    for minutes in lengths.minutes:
        rng = np.random.default_rng([seed, minutes])
        for number, question in enumerate(_all_kinds(filmed, seen, last, HOURS_KINDS, rng)):
            line = as_question(tour_question(filmed, seen, last, question, ''))
            asked.append(replace(
                line, id=f'{HOURS}-{seed}-{minutes}-{number}', suite=after(minutes),
                ask_at_ns=int(stamps[last + 120 * minutes]),
                delay=(line.delay or 0) + 120 * minutes))
    return QualityStream(
        stream_name(HOURS, seed), HOURS, seed, ShownAgain(shots.frames, order), stamps.tolist(),
        asked)


def after(minutes: int) -> str:
    """Name the group of what is asked so many minutes after a tour."""
    return f'{HOURS}: after {minutes} min'


def _all_kinds(
    drive: Tour, seen: Sightings, frame: int, kinds: Sequence[str], rng: np.random.Generator,
) -> Iterator[Any]:
    """Draw a question of each kind about what was seen, and one about what was not."""
    sight = sight_until(drive, seen, frame)
    for kind, absent in (*((kind, False) for kind in kinds), ('seen', True)):
        for _ in range(40):
            question = ask(kind, sight, rng, canonical=True, absent=0.0)
            if question is not None and (question.answer in (NOT_SEEN, 'no')) == absent:
                yield question
                break


def _day(seed: int, lengths: Lengths, _: int, cache: Path | None) -> QualityStream:
    drive = make_stream('vigil', seed, lengths.day_film)
    shots = load_film(drive, cache)
    assert drive.present is not None
    # Whole grids of nothing are shown again, so that grids stay as they were filmed.
    filmed_grids = len(drive.poses) // 2
    grids = ~drive.present[:2 * filmed_grids].reshape(filmed_grids, -1).any(-1)
    times = np.ones(filmed_grids, np.int64)
    times[grids] = max(1, (lengths.day // 2 - int((~grids).sum())) // int(grids.sum()))
    shown = np.repeat(np.arange(filmed_grids), times)
    order = (2 * shown[:, None] + np.arange(2)).ravel()
    stamps = START_NS + np.arange(len(order)) * (MINUTE_NS // 60)
    # When each frame of the film is shown last.
    place = np.full(len(drive.poses), len(order) - 1)
    place[order] = np.arange(len(order))
    seen, asked = Sightings(shots), []
    for share in DAY_SHARES:
        frame = int(share * 2 * filmed_grids) // 2 * 2 - 1
        rng = np.random.default_rng([seed, frame])
        filmed = replace(drive, stamps_ns=stamps[place])
        for number, question in enumerate(_all_kinds(filmed, seen, frame, DAY_KINDS, rng)):
            line = as_question(tour_question(
                filmed, seen, frame, question, f'{DAY}-{seed}-{share}-{number}'))
            ends = [end for _, end in line.evidence]
            asked.append(replace(
                line, delay=int((line.ask_at_ns or 0) - max(ends)) // (MINUTE_NS // 60)
                if ends else 0))
    return QualityStream(
        stream_name(DAY, seed), DAY, seed, ShownAgain(shots.frames, order), stamps.tolist(), asked)


