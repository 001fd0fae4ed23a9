# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Means with 95 % intervals, for questions of which many share a stream.

Questions about one stream stand or fall together, so whole streams are what is drawn anew (the
cluster bootstrap), and the interval is between percentiles of the means so drawn. Streams that
share something that makes them hard, a house say, are one cluster. Two cells are compared on the
questions both were asked, cluster by cluster, so that what makes one hard cancels out.

Of a single stream nothing can be drawn anew, where all streams came out alike every draw is the
same, and few streams may happen to be more alike than their questions are. There an interval over
questions stands in: Wilson's for shares (E. B. Wilson, 1927), the adjusted Wald interval of Bonett
and Price for paired differences (2012). It says how other questions like these would fare, and
nothing of other streams.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
LEVEL = 0.95
Z = 1.959964  # of the normal distribution, at LEVEL
SEED = 2024
# Fewer clusters than this never make an interval narrower than their questions alone would.
FEW = 10
# What rounding makes of an interval between two equal means.
ALIKE = 1e-9
# More clusters are drawn in this many groups, whose draws would not fit into memory otherwise.
MAX_DRAWN = 200

Numbers = npt.NDArray[np.float64]
Over = Literal['clusters', 'questions']


@dataclass(frozen=True)
class Interval:
    """
    A mean and where it lies, 95 times of 100.

    :param low: None, as ``high``, where nothing can be said.
    :param over: what it would take another sample of; None without an interval.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    over: Over | None = None

    def percent(self, form: str = '.1f') -> str:
        """Write it for people: ``85.0 [80.1, 89.3]``; ``form`` may ask for a sign."""
        mean = f'{100 * self.mean:{form}}'
        if self.low is None or self.high is None:
            return mean
        return f'{mean} [{100 * self.low:{form}}, {100 * self.high:{form}}]'


@lru_cache(maxsize=16)
def _draws(clusters: int, resamples: int, seed: int) -> Numbers:
    """Tell how often each one is drawn: ``[resamples, clusters]``, rows sum to ``clusters``."""
    rng = np.random.default_rng([seed, clusters])
    draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return draws.astype(np.float64)


def bootstrap_mean(
    sums: npt.ArrayLike, counts: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED,
) -> Interval | None:
    """
    Give the mean over all questions, with its interval over clusters.

    :param sums: what the questions of each cluster add up to, ``[clusters]``.
    :param counts: how many they are; a cluster without any plays no part.
    :return: None where there is no question at all.
    """
    count = np.asarray(counts, np.float64)
    present = count > 0
    count, total = count[present], np.asarray(sums, np.float64)[present]
    if not len(count):
        return None
    mean = float(total.sum() / count.sum())
    if len(count) == 1:
        return Interval(mean)
    if len(count) > MAX_DRAWN:
        groups = np.random.default_rng(seed).permutation(len(count)) % MAX_DRAWN
        count = np.bincount(groups, count).astype(np.float64)
        total = np.bincount(groups, total).astype(np.float64)
    draws = _draws(len(count), resamples, seed)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((draws @ total) / (draws @ count), [tail, 1 - tail])
    return Interval(mean, float(low), float(high), 'clusters')


def mean_of(
    values: Numbers, clusters: npt.NDArray[np.int64], *, resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """
    Give the mean of one value a question.

    :param values: ``[questions]``; NaN where a question has none.
    :param clusters: ``[questions]``, the number of each one's cluster, a stream as a rule.
    """
    there = ~np.isnan(values)
    if not there.any():
        return None
    size, owners = int(clusters.max()) + 1, clusters[there]
    return bootstrap_mean(
        np.bincount(owners, values[there], size), np.bincount(owners, None, size),
        resamples=resamples, seed=seed)


def share_of(
    right: Numbers, clusters: npt.NDArray[np.int64], *, resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """
    Give the share of ones among zeros and ones.

    :param right: ``[questions]`` of 0, 1, and NaN where a question has none.
    :param clusters: as of :func:`mean_of`.
    """
    there = ~np.isnan(right)
    found = mean_of(right, clusters, resamples=resamples, seed=seed)
    return found and _sound(
        found, wilson(int(right[there].sum()), int(there.sum())), clusters[there])


def difference_of(
    differences: Numbers, clusters: npt.NDArray[np.int64], *, resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """
    Give the difference of two shares from one pair a question.

    :param differences: ``[questions]`` of -1, 0, 1, and NaN where there is no pair.
    :param clusters: as of :func:`mean_of`.
    """
    there = ~np.isnan(differences)
    found = mean_of(differences, clusters, resamples=resamples, seed=seed)
    better, worse = int((differences[there] > 0).sum()), int((differences[there] < 0).sum())
    return found and _sound(
        found, bonett_price(better, worse, int(there.sum())), clusters[there])


def _sound(
    found: Interval, over_questions: Interval, clusters: npt.NDArray[np.int64],
) -> Interval:
    """Choose the interval over clusters, unless they are too few or too much alike to tell."""
    width = _width(found)
    few = len(np.unique(clusters)) < FEW
    if width < ALIKE or (few and width < _width(over_questions)):
        return over_questions
    return found


def _width(interval: Interval) -> float:
    if interval.low is None or interval.high is None:
        return 0.0
    return interval.high - interval.low


def wilson(right: int, questions: int) -> Interval:
    """Give a share and Wilson's score interval, over ``questions``, at least one."""
    share = right / questions
    scale = 1 + Z**2 / questions
    middle = (share + Z**2 / (2 * questions)) / scale
    arm = Z * math.sqrt(share * (1 - share) / questions + (Z / (2 * questions))**2) / scale
    # Exactly 0 or 1 at an end, which rounding would miss.
    return Interval(
        share, 0.0 if right == 0 else middle - arm, 1.0 if right == questions else middle + arm,
        'questions')


def bonett_price(better: int, worse: int, pairs: int) -> Interval:
    """
    Give the difference of two shares on the same questions.

    :param better: questions only the one was right on; ``worse`` those only the other was.
    :param pairs: questions both were asked, at least one.
    """
    up, down = (better + 1) / (pairs + 2), (worse + 1) / (pairs + 2)
    arm = Z * math.sqrt((up + down - (up - down)**2) / (pairs + 2))
    return Interval(
        (better - worse) / pairs, max(-1.0, up - down - arm), min(1.0, up - down + arm),
        'questions')
