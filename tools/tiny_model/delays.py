# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which of all a stream's questions are asked: as many at each of four delays, of mixed kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tools.tiny_model.evidence import Candidate, Sightings

#: Frames from the evidence to the asking, in streams of 1,200.
DELAYS = (1, 10, 100, 1000)
# The same question is not asked twice within this many frames.
AGAIN = 20

_NEVER = 'never'


def draw_at_delays(
    seen: Sightings, count: int, kinds: Sequence[str], rng: np.random.Generator,
    delays: Sequence[int] = DELAYS,
) -> list[Candidate]:
    """
    Draw up to ``count`` questions, evenly over ``delays`` and the kinds.

    A delay counts as met within one frame. What the stream cannot give at one delay it gives at
    the others, and if need be at the nearest there is. Of every five at a delay, one is left out
    where ``seen`` is among the kinds: for a question about what was never there.
    """
    stock = {kind: seen.candidates(kind) for kind in kinds}
    taken: list[tuple[int, Candidate]] = []
    wanted = 0
    for index, target in enumerate(delays):
        share = count // len(delays) + (index < count % len(delays))
        wishes = [wish for wish in _wishes(kinds, share, target, rng) if wish != _NEVER]
        wanted += len(wishes)
        for wish in wishes:
            others = [kind for kind in kinds if kind not in (wish, 'current')]
            for group in ([wish], others):
                chosen = _choose(
                    [one for kind in group for one in stock[kind]], target, taken, rng)
                if chosen is not None:
                    taken.append((target, chosen))
                    break
    everything = [one for kind in kinds if kind != 'current' for one in stock[kind]]
    for tolerance in (1.0, 1.5, 2_000.0):
        for target in [*delays][::-1] * (wanted - len(taken)):
            chosen = _choose(everything, target, taken, rng, tolerance)
            if chosen is not None and len(taken) < wanted:
                taken.append((target, chosen))
    return [one for _, one in taken]


def _wishes(
    kinds: Sequence[str], share: int, target: int, rng: np.random.Generator,
) -> list[str]:
    """List the kinds to ask for at one delay: each of the plain ones, one of the others."""
    plain = [kind for kind in kinds if kind in ('colour', 'room', 'seen', 'where')]
    if 'seen' in kinds:
        plain.append(_NEVER)
    varied = [kind for kind in kinds if kind in ('count', 'order') or (
        kind == 'current' and target == DELAYS[0])]
    row = [*plain, *rng.permutation(varied).tolist()[:1]]
    return [row[number % len(row)] for number in range(share)] if row else []


def _choose(
    pool: Sequence[Candidate], target: int, taken: Sequence[tuple[int, Candidate]],
    rng: np.random.Generator, tolerance: float = 1.0,
) -> Candidate | None:
    """
    Choose one at a delay, of what was asked least at it.

    :param tolerance: factor by which the delay may be missed; one frame it may be in any case.
    """
    def met(one: Candidate) -> bool:
        if one.kind == 'current':
            return target == DELAYS[0]
        return one.delay > 0 and (
            abs(one.delay - target) <= 1
            or target / tolerance <= one.delay <= target * tolerance)

    def repeated(one: Candidate) -> bool:
        return any((one.kind, one.shapes) == (other.kind, other.shapes)
                   and abs(one.frame - other.frame) < AGAIN for _, other in taken)

    groups: dict[tuple[str, tuple[int, ...]], list[Candidate]] = {}
    for one in pool:
        if met(one) and not repeated(one):
            groups.setdefault((one.kind, one.shapes), []).append(one)
    if not groups:
        return None
    used = Counter((other.kind, other.shapes) for at, other in taken if at == target)
    names = sorted(groups, key=lambda name: (used[name], rng.random()))
    group = groups[names[0]]
    nearest = min(abs(np.log(max(one.delay, 1) / target)) for one in group)
    if tolerance > 1:
        group = [one for one in group
                 if abs(np.log(max(one.delay, 1) / target)) <= nearest + 1e-9]
    return group[int(rng.integers(len(group)))]
