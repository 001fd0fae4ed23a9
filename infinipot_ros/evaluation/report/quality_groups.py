# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What questions are counted together as, whatever answered them.

Groups are ``all``; ``shown`` and ``not shown``, whether the stream ever had the answer in view;
``compressed 4 times or more``, all but the latter, asked when the stream had brought at least four
times the budget: early questions are asked of a memory that has lost little or nothing yet;
``kind ...``; ``delay ...``, the nearest of 1, 10, 100 and 1,000 frames; and ``delay 100 or more``,
the last two of these together, where a window of recent frames is of little use.

Where no question at all comes with a delay, nobody knows what was in view, and there are neither
``shown`` and ``not shown`` nor delays. Otherwise a question without one was never shown if it is
to be answered with no or with not having seen it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.visual_memory.answer import same_answer

DELAYS = (1, 10, 100, 1000)
LONG_DELAY = 100
COMPRESSED_TIMES = 4
ALL = 'all'
SHOWN, NOT_SHOWN = 'shown', 'not shown'
COMPRESSED = f'compressed {COMPRESSED_TIMES} times or more'
LONG = f'delay {LONG_DELAY} or more'
HEADLINE_GROUPS = (ALL, SHOWN, COMPRESSED, LONG, NOT_SHOWN)
REFUSALS = ('no', 'not seen')
LONG_GROUPS = tuple(f'delay {delay}' for delay in DELAYS if delay >= LONG_DELAY)


def delay_group(delay: int) -> str:
    """Name the nearest of ``DELAYS``, by ratio."""
    near = min(DELAYS, key=lambda each: abs(math.log(max(delay, 1) / each)))
    return f'delay {near}'


def knows_delays(outcomes: Iterable[Outcome]) -> bool:
    """Tell whether it is known of any question for how long it had to be remembered."""
    return any(outcome.delay is not None for outcome in outcomes)


def never_shown(outcome: Outcome, known: bool) -> bool:
    """Tell whether a question is about what never was in view; ``known``: if any delay is."""
    return known and outcome.delay is None and any(
        same_answer(outcome.expected, refusal) for refusal in REFUSALS)


def groups_of(outcome: Outcome, budget_tokens: int, known: bool) -> Iterator[str]:
    """
    Name the groups a question belongs to.

    :param budget_tokens: the budget by which to tell how often it was compressed.
    :param known: whether delays are known, ``knows_delays``.
    """
    yield ALL
    yield f'kind {outcome.kind}'
    if never_shown(outcome, known):
        yield NOT_SHOWN
        return
    if outcome.seen_tokens >= COMPRESSED_TIMES * budget_tokens:
        yield COMPRESSED
    if outcome.delay is None:
        return
    yield SHOWN
    group = delay_group(outcome.delay)
    yield group
    if group in LONG_GROUPS:
        yield LONG


def group_order(group: str) -> tuple[int, int, str]:
    """Sort key: all first, then whether shown, by delay, by kind."""
    first = (ALL, SHOWN, COMPRESSED, NOT_SHOWN)
    if group in first:
        return first.index(group), 0, ''
    word, *rest = group.split()
    if word == 'delay':
        return len(first), int(rest[0]) + (len(rest) > 1), ''
    return len(first) + 1, 0, group
