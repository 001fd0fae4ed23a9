# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The moments an answer rests on, from the attention of its tokens.

``attention_evidence`` sums the attention; ``docs/explanation/evidence.md`` has how often
it is right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infinipot_ros.visual_memory.frame import Pose

if TYPE_CHECKING:
    from infinipot_ros.visual_memory.observations import Observation

# Observations next to a peak belong to its moment while they hold this share of its attention and
# at most this time lies between two of them.
MOMENT_SHARE = 0.5
MOMENT_GAP_NS = 5_000_000_000


@dataclass(frozen=True)
class Evidence:
    """
    A moment an answer rests on: one observation, or consecutive ones of a camera.

    :param first_ns: its first stamp, nanoseconds; ``last_ns`` its last.
    :param score: share of the attention to all of the memory; within (0, 1].
    :param pose: where the camera was at ``stamp_ns``, if known.
    :param grid: number of the strongest observation. Valid until the next frame is added: in a
        stream of years grids are renumbered.
    :param stamp_ns: first stamp of that observation, within the moment.
    :param thumbnail: jpeg of that observation, if one is held.
    :param looked_again: whether some of its frames were encoded again for the answer.
    """

    first_ns: int
    last_ns: int
    camera: str
    score: float
    pose: Pose | None
    grid: int
    stamp_ns: int
    thumbnail: bytes | None = field(default=None, repr=False)
    looked_again: bool = False


def best_moments(
    scores: Mapping[int, float], observations: Mapping[int, Observation], most: int,
    again: Collection[int] = (),
) -> tuple[Evidence, ...]:
    """
    Join neighbouring observations with similar attention, and pick the best moments.

    :param scores: share of the attention by grid.
    :param again: grids that were encoded again.
    :return: at most ``most``, best first.
    """
    tracks: dict[str, list[int]] = {}
    for grid in sorted(observations):
        tracks.setdefault(observations[grid].camera, []).append(grid)
    place = {grid: (track, index) for track in tracks.values()
             for index, grid in enumerate(track)}
    found: list[Evidence] = []
    used: set[int] = set()
    for peak in sorted(scores, key=lambda grid: (-scores[grid], grid)):
        # A moment scores the sum of its observations, so more peaks than wanted are tried.
        if len(found) >= 4 * most or scores[peak] <= 0.0:
            break
        if peak in used or peak not in observations:
            continue
        track, index = place[peak]
        first = _reach(track, index, -1, scores, observations, used)
        last = _reach(track, index, 1, scores, observations, used)
        grids = track[first:last + 1]
        used.update(grids)
        strongest = observations[peak]
        found.append(Evidence(
            min(observations[grid].first_ns for grid in grids),
            max(observations[grid].last_ns for grid in grids), strongest.camera,
            sum(scores.get(grid, 0.0) for grid in grids), strongest.pose, peak,
            strongest.first_ns, looked_again=any(grid in again for grid in grids)))
    return tuple(sorted(found, key=lambda each: -each.score)[:most])


def _reach(
    track: Sequence[int], peak: int, step: int, scores: Mapping[int, float],
    observations: Mapping[int, Observation], used: set[int],
) -> int:
    """Return the end of a peak's moment in one direction."""
    least, index = MOMENT_SHARE * scores[track[peak]], peak
    while 0 <= index + step < len(track):
        here, there = sorted((track[index], track[index + step]))
        gap = observations[there].first_ns - observations[here].last_ns
        neighbour = track[index + step]
        if (neighbour in used or scores.get(neighbour, 0.0) < least
                or not 0 <= gap <= MOMENT_GAP_NS):
            break
        index += step
    return index
