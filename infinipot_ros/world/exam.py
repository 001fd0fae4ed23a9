# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The questions of a filmed tour: what may be asked at which moment, and what shows the answer.

Only what was clearly in view, or never, before the moment of asking is asked about; evidence are
the intervals in which the thing was clearly in view.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.world.bag import TourQuestion
from infinipot_ros.world.dataset import house_facts
from infinipot_ros.world.house import COLOUR_NAMES, ROOMS, SHAPES
from infinipot_ros.world.questions import (
    CLEAR,
    NOT_SEEN,
    TEMPLATES,
    TRACE,
    Question,
    Sight,
    ask,
)
from infinipot_ros.world.tour import FPS, Film, Tour

FRAME_NS = 1_000_000_000 // FPS
# On a tour a thing counts as shown only by a good look at it.
GOOD_LOOK = 2 * CLEAR
GOOD_FRAMES = 3
INSIDE_SHARE = 0.7


def sight_until(tour: Tour, shots: Film, frame: int) -> Sight:
    """Say what frames 0 to ``frame`` of a wholly filmed tour have shown."""
    totals = shots.things[:frame + 1].sum(1).astype(np.int64)
    colours, homes = house_facts(tour.house)
    rooms = shots.rooms[frame].sum(0).astype(np.int64)
    inside = int(shots.inside[frame])
    certain = rooms[inside] >= INSIDE_SHARE * rooms.sum()
    return Sight(
        (totals >= GOOD_LOOK).sum(0) >= GOOD_FRAMES, totals.max(0) <= TRACE, colours, homes,
        inside if certain else None)


def intervals(
    shown: npt.NDArray[np.bool_], stamps: npt.NDArray[np.int64],
) -> list[list[int]]:
    """Join the frames that are true to closed intervals of stamps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(np.int8)))
    return [[int(stamps[first]), int(stamps[last - 1])]
            for first, last in zip(edges[::2], edges[1::2], strict=True)]


def tour_question(
    tour: Tour, shots: Film, frame: int, question: Question, name: str,
) -> TourQuestion:
    """Put a question asked right after ``frame`` into the form of a questions file."""
    stamps = tour.stamps_ns[:frame + 1]
    if question.kind == 'current':
        shown = np.arange(frame + 1) == frame
    elif question.shape is None or question.answer in (NOT_SEEN, 'no'):
        shown = np.zeros(frame + 1, bool)
    else:
        shown = shots.things[:frame + 1, :, question.shape].sum(1) >= CLEAR
    evidence = intervals(shown, stamps)
    delay = round((int(stamps[-1]) - evidence[-1][1]) / FRAME_NS) if evidence else 0
    return TourQuestion(
        name, int(stamps[-1]), question.text, question.answer, question.kind, evidence, delay)


def examine(
    tour: Tour, shots: Film, count: int, *, kinds: tuple[str, ...] = (
        'colour', 'room', 'seen', 'current'), canonical: bool = True,
) -> list[TourQuestion]:
    """
    Draw ``count`` questions about a wholly filmed tour, asked at its end or at random moments.

    Half of them are asked at the end, the others after at least a quarter of the tour.
    """
    rng = np.random.default_rng([tour.house.seed, 6])
    last = len(tour.poses) - 1
    found: dict[tuple[int, str], TourQuestion] = {}
    for _ in range(30 * count):
        if len(found) == count:
            break
        frame = last if rng.random() < 0.5 else int(rng.integers(last // 4, last))
        # A question is asked of whole grids: after an odd frame.
        frame -= 1 - frame % 2
        kind = str(rng.choice(kinds))
        question = ask(kind, sight_until(tour, shots, frame), rng, canonical=canonical)
        if question is not None and (frame, question.text) not in found:
            found[frame, question.text] = tour_question(
                tour, shots, frame, question, f'{tour.house.seed}-{len(found)}')
    return sorted(found.values(), key=lambda asked: asked.ask_at)


def demo_exam(tour: Tour, shots: Film) -> list[TourQuestion]:
    """
    Set the six questions of a demo: two while the robot drives, four at the end.

    At the end, the longer ago a thing was in view the sooner it is asked about; one question is
    about a sighting that never happened and one about a shape that is nowhere.

    :raises ConfigurationError: the tour shows too little, or everything there is.
    """
    last = len(tour.poses) - 1 - len(tour.poses) % 2
    early, late = 2 * (9 * last // 40) + 1, 2 * (7 * last // 20) + 1
    colours, homes = house_facts(tour.house)
    clear = shots.things.sum(1) >= CLEAR

    def known(frame: int) -> list[int]:
        """List the shapes seen so far, the one out of view longest first."""
        seen = np.flatnonzero(sight_until(tour, shots, frame).seen)
        return sorted(seen.tolist(), key=lambda s: int(np.flatnonzero(clear[:frame + 1, s])[-1]))

    missing = np.flatnonzero(sight_until(tour, shots, last).unseen).tolist()
    at_end = known(last)
    if not known(early) or len(at_end) < 2 or not missing:
        raise ConfigurationError(
            f'the tour of seed {tour.house.seed} shows no demo: take one that shows something '
            'early, two shapes in all, and misses one')
    newest, oldest = known(early)[-1], at_end[0]
    other = at_end[1]
    wrong = next(name for index, name in enumerate(COLOUR_NAMES) if index not in colours)

    def named(shape: int) -> str:
        return f'{COLOUR_NAMES[colours[shape]]} {SHAPES[shape]}'

    asked = (
        (early, 'colour', newest, SHAPES[newest], COLOUR_NAMES[colours[newest]]),
        (late, 'seen', known(late)[0], named(known(late)[0]), 'yes'),
        (last, 'room', oldest, SHAPES[oldest], ROOMS[homes[oldest]]),
        (last, 'colour', other, SHAPES[other], COLOUR_NAMES[colours[other]]),
        (last, 'seen', other, f'{wrong} {SHAPES[other]}', 'no'),
        (last, 'room', missing[0], SHAPES[missing[0]], NOT_SEEN))
    return [
        tour_question(
            tour, shots, frame,
            Question(TEMPLATES[kind][0].format(thing=thing), answer, kind, shape), f'q{number}')
        for number, (frame, kind, shape, thing, answer) in enumerate(asked, start=1)]


def describe_house(tour: Tour) -> str:
    """Tell in one line what stands where, for people."""
    house = tour.house
    return '; '.join(
        f'{thing.colour} {thing.shape} in the {house.rooms[thing.room]}' for thing in house.things)


