# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The questions of a filmed tour: what may be asked at which moment, and what shows the answer.

Only what was clearly in view, or never, before the moment of asking is asked about; evidence are
the intervals in which the thing was clearly in view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from infinipot_ros.errors import ConfigurationError
from tools.tiny_model.bag import AskedQuestion, TourQuestion
from tools.tiny_model.dataset import house_facts
from tools.tiny_model.delays import DELAYS, draw_at_delays
from tools.tiny_model.evidence import Candidate, Sightings
from tools.tiny_model.house import COLOUR_NAMES, ROOMS, SHAPES
from tools.tiny_model.questions import (
    CLEAR,
    NOT_SEEN,
    TEMPLATES,
    TRACE,
    Question,
    Sight,
    ask,
)
from tools.tiny_model.suites import SUITES, suite_rng
from tools.tiny_model.tour import Film, Tour

KINDS = ('colour', 'room', 'seen', 'count', 'order', 'current')
# A vigil has one room, in view to the end, which asks nothing of a memory.
SUITE_KINDS = {suite: KINDS for suite in SUITES} | {
    'vigil': ('colour', 'seen', 'count', 'order'), 'absent': ('colour', 'room', 'seen'),
    # Its things have one colour, and to count them they need not be told apart.
    'alike': ('room', 'seen', 'order')}
# Numbers are no words of the bundled model: asked only on demand.
WHERE = (
    'Where were you when you last saw the {thing}?',
    'From where did you last see the {thing}?',
    'What was your position when you last saw the {thing}?')
# What the camera has before it when it is asked.
NOW_KINDS = ('current', 'describe')
_ASKING, _NOW = 2, 3


def sight_until(tour: Tour, seen: Sightings, frame: int) -> Sight:
    """Say what frames 0 to ``frame`` of a wholly filmed tour have shown."""
    colours, homes = house_facts(tour.house)
    return Sight(
        seen.known[frame], seen.unseen[frame], colours, homes, seen.inside(frame),
        first_trace=seen.first_trace, first_clear=seen.first_clear)


def intervals(
    shown: npt.NDArray[np.bool_], stamps: npt.NDArray[np.int64],
) -> list[list[int]]:
    """Join the frames that are true to closed intervals of stamps."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], shown, [False]]).astype(np.int8)))
    return [[int(stamps[first]), int(stamps[last - 1])]
            for first, last in zip(edges[::2], edges[1::2], strict=True)]


def about(question: Question, seen: Sightings, frame: int) -> tuple[int, ...]:
    """List the shapes whose sightings are the evidence; none for what was never seen."""
    if question.answer in (NOT_SEEN, 'no'):
        return ()
    if question.kind == 'count':
        return tuple(np.flatnonzero(seen.known[frame]).tolist())
    return tuple(shape for shape in (question.shape, question.other) if shape is not None)


def tour_question(
    tour: Tour, seen: Sightings, frame: int, question: Question, name: str,
) -> TourQuestion:
    """Put a question asked right after ``frame`` into the form of a questions file."""
    shapes = about(question, seen, frame)
    stamps = tour.stamps_ns[:frame + 1]
    return TourQuestion(
        name, int(stamps[-1]), question.text, question.answer, question.kind,
        intervals(seen.evidence(question.kind, shapes, frame), stamps),
        seen.delay(question.kind, shapes, frame))


def examine(
    tour: Tour, shots: Film, count: int, *, kinds: tuple[str, ...] = (
        'colour', 'room', 'seen', 'current'), canonical: bool = True,
) -> list[TourQuestion]:
    """
    Draw ``count`` questions about a wholly filmed tour, asked at its end or at random moments.

    Half of them are asked at the end, the others after at least a quarter of the tour.
    """
    rng = np.random.default_rng([tour.house.seed, 6])
    seen = Sightings(shots)
    last = len(tour.poses) - 1
    found: dict[tuple[int, str], TourQuestion] = {}
    for _ in range(30 * count):
        if len(found) == count:
            break
        frame = last if rng.random() < 0.5 else int(rng.integers(last // 4, last))
        # A question is asked of whole grids: after an odd frame.
        frame -= 1 - frame % 2
        kind = str(rng.choice(kinds))
        question = ask(kind, sight_until(tour, seen, frame), rng, canonical=canonical)
        if question is not None and (frame, question.text) not in found:
            found[frame, question.text] = tour_question(
                tour, seen, frame, question, f'{tour.house.seed}-{len(found)}')
    return sorted(found.values(), key=lambda asked: asked.ask_at)


def examine_suite(
    suite: str, tour: Tour, shots: Film, count: int = 20, *,
    kinds: Sequence[str] | None = None, canonical: bool = True,
    delays: Sequence[int] = DELAYS,
) -> list[AskedQuestion]:
    """
    Draw ``count`` questions about a wholly filmed stream of a suite, the same every time.

    Each is asked right after a whole grid, 1, 10, 100 or 1,000 frames after its evidence, as many
    at each (``draw_at_delays``). With one in five about what was never there, which has no
    evidence and delay 0 and is spread over the stream; the suite ``absent`` asks nothing else.

    :param kinds: of ``KINDS``, or ``where``; None: those of the suite, ``SUITE_KINDS``.
    :param canonical: use the first wording of each kind instead of a random one.
    :param delays: others than those of above.
    :raises ConfigurationError: no such suite or kind.
    """
    if kinds is None:
        kinds = SUITE_KINDS.get(suite, ())
    for given, known in ((suite, SUITES), *((kind, (*KINDS, 'where')) for kind in kinds)):
        if given not in known:
            raise ConfigurationError(f'no {given!r}; there are {", ".join(known)}')
    seen = Sightings(shots)
    rng = suite_rng(suite, tour.house.seed, _ASKING)
    if suite == 'absent':
        drawn, never = [], [kind for kind in kinds if kind in ('colour', 'room', 'seen')]
    else:
        drawn = [(one.frame, _worded(tour, seen, one, rng, canonical))
                 for one in draw_at_delays(seen, count, kinds, rng, delays)]
        never = [kind for kind in kinds if kind == 'seen']
    drawn += _never(tour, seen, count - len(drawn) if never else 0, never, rng, canonical)
    drawn.sort(key=lambda pair: pair[0])
    asked = []
    for number, (frame, question) in enumerate(drawn):
        line = tour_question(
            tour, seen, frame, question, f'{suite}-{tour.house.seed}-{number}')
        tokens = seen.tokens(question.kind, about(question, seen, frame), frame)
        asked.append(AskedQuestion(**vars(line), tokens=tokens))
        if question.kind == 'where':
            asked[-1] = replace(asked[-1], place=_place(tour, seen, question, frame))
    return asked


def examine_now(suite: str, tour: Tour, shots: Film, count: int) -> list[AskedQuestion]:
    """
    Draw questions of ``NOW_KINDS`` in turn, one in each of ``count`` even parts of the stream.

    Each is about the grid after which it is asked, which shows one thing clearly or none at all; a
    part without such a grid asks nothing.
    """
    seen = Sightings(shots)
    rng = suite_rng(suite, tour.house.seed, _NOW)
    edges = np.linspace(len(tour.poses) // 10, len(tour.poses), count + 1).astype(int)
    asked = []
    for number, (first, last) in enumerate(pairwise(edges.tolist())):
        kind = NOW_KINDS[number % len(NOW_KINDS)]
        for frame in rng.permutation(np.arange(first | 1, last, 2)).tolist():
            question = ask(kind, _sight_now(tour, seen, frame), rng, canonical=True)
            if question is not None:
                stamps = tour.stamps_ns[frame - 1:frame + 1].tolist()
                asked.append(AskedQuestion(
                    f'{suite}-{tour.house.seed}-now-{number}', stamps[-1], question.text,
                    question.answer, kind, [stamps], 0))
                break
    return asked


def _sight_now(tour: Tour, seen: Sightings, frame: int) -> Sight:
    """Say what the grid that ends with ``frame`` shows; nothing where its frames differ."""
    sight = sight_until(tour, seen, frame)
    pixels = seen.pixels[frame - 1:frame + 1]
    traces = np.flatnonzero((pixels > TRACE).any(0)).tolist()
    view = -1 if not traces else None
    # As clearly as in training.
    if len(traces) == 1 and (pixels[:, traces[0]] >= 2 * CLEAR).all():
        view = traces[0]
    inside = sight.inside if seen.inside(frame - 1) == sight.inside else None
    return replace(sight, view=view, inside=inside)


def examine_counts(suite: str, tour: Tour, shots: Film, count: int) -> list[AskedQuestion]:
    """Ask how many objects were seen, where that is sure, once in each of ``count`` even parts."""
    seen = Sightings(shots)
    rng = suite_rng(suite, tour.house.seed, _NOW)
    stock = {one.frame: one for one in seen.candidates('count')}
    edges = np.linspace(0, len(tour.poses), count + 1).astype(int)
    asked = []
    for number, (first, last) in enumerate(pairwise(edges.tolist())):
        own = [frame for frame in stock if first <= frame < last]
        if own:
            one = stock[own[-1]]
            line = tour_question(
                tour, seen, one.frame, _worded(tour, seen, one, rng, True),
                f'{suite}-{tour.house.seed}-count-{number}')
            asked.append(AskedQuestion(**vars(line), tokens=seen.tokens(
                one.kind, one.shapes, one.frame)))
    return asked


def _never(
    tour: Tour, seen: Sightings, count: int, kinds: Sequence[str], rng: np.random.Generator,
    canonical: bool,
) -> list[tuple[int, Question]]:
    """Ask about what was not seen, once in each of ``count`` even parts of the stream."""
    start = len(tour.poses) // 10
    edges = np.linspace(start, len(tour.poses), count + 1).astype(int)
    found = []
    for number, (first, last) in enumerate(pairwise(edges.tolist())):
        frame = 2 * (int(rng.integers(first, max(last, first + 1))) // 2) + 1
        frame = min(frame, len(tour.poses) - 1 - len(tour.poses) % 2)
        sight = sight_until(tour, seen, frame)
        order = [kinds[(number + shift) % len(kinds)] for shift in range(len(kinds))]
        # Kinds ask about what was seen as well; draw until one does not.
        for kind in [order[0]] * 40 + order * 40:
            question = ask(kind, sight, rng, canonical=canonical, absent=1.0)
            if question is not None and question.answer in (NOT_SEEN, 'no'):
                found.append((frame, question))
                break
    return found


def _worded(
    tour: Tour, seen: Sightings, one: Candidate, rng: np.random.Generator, canonical: bool,
) -> Question:
    """Put a candidate in words and give its answer."""
    wordings = WHERE if one.kind == 'where' else TEMPLATES[one.kind]
    template = wordings[0 if canonical else int(rng.integers(len(wordings)))]
    if one.kind == 'count':
        return Question(template, str(len(one.shapes)), 'count')
    if one.kind == 'current':
        room = seen.inside(one.frame)
        assert room is not None
        return Question(template, ROOMS[room], 'current')
    colours, homes = house_facts(tour.house)
    shape = one.shapes[0]
    if one.kind == 'order':
        thing, other = rng.permutation(one.shapes).tolist()
        text = template.format(thing=SHAPES[thing], other=SHAPES[other])
        return Question(text, SHAPES[shape], 'order', thing, other)
    colour = COLOUR_NAMES[colours[shape]]
    if one.kind == 'seen':
        return Question(template.format(thing=f'{colour} {SHAPES[shape]}'), 'yes', 'seen', shape)
    text = template.format(thing=SHAPES[shape])
    if one.kind == 'where':
        x, y = _place(tour, seen, Question(text, '', 'where', shape), one.frame)
        return Question(text, f'{x:.1f}, {y:.1f}', 'where', shape)
    answer = colour if one.kind == 'colour' else ROOMS[homes[shape]]
    return Question(text, answer, one.kind, shape)


def _place(tour: Tour, seen: Sightings, question: Question, frame: int) -> list[float]:
    """Return x, y in the frame of the odometry of where a shape was last in clear sight."""
    assert question.shape is not None
    x, z, _ = tour.poses[seen.last[frame, question.shape]]
    # No -0.0, which people read as a mistake.
    return [round(float(x), 1) + 0.0, round(-float(z), 1) + 0.0]


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
    seen = Sightings(shots)

    def known(frame: int) -> list[int]:
        """List the shapes seen so far, the one out of view longest first."""
        shapes = np.flatnonzero(seen.known[frame]).tolist()
        return sorted(shapes, key=lambda shape: int(seen.last[frame, shape]))

    missing = np.flatnonzero(seen.unseen[last]).tolist()
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
            tour, seen, frame,
            Question(TEMPLATES[kind][0].format(thing=thing), answer, kind, shape), f'q{number}')
        for number, (frame, kind, shape, thing, answer) in enumerate(asked, start=1)]


def describe_house(tour: Tour) -> str:
    """Tell in one line what stands where, for people."""
    house = tour.house
    return '; '.join(
        f'{thing.colour} {thing.shape} in the {house.rooms[thing.room]}' for thing in house.things)
