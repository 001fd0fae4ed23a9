# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Means with 95 % intervals, for questions of which many share a stream.

Answers about one stream are correlated, so whole streams are resampled (the cluster bootstrap,
percentile intervals: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993). Streams
that share what makes them hard, such as a house, are one cluster. Two variants are compared on the
questions both were asked, so that the difficulty of a question cancels out.

A single stream cannot be resampled, streams that all came out alike give an interval of no width,
and few streams may be more alike than their questions are. An interval over questions replaces it
then: Wilson's score interval for shares (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927), the adjusted
Wald interval for paired differences (D. G. Bonett and R. M. Price, J. Educ. Behav. Stat. 37,
2012). It says how other questions like these would fare, and nothing about other streams.
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
# Fewer clusters never give a narrower interval than their questions alone would.
FEW = 10
# A narrower interval is one of no width, but for rounding.
MIN_WIDTH = 1e-9
# More clusters are resampled in this many groups, to bound the memory that takes.
MAX_DRAWN = 200

Numbers = npt.NDArray[np.float64]
Over = Literal['clusters', 'questions']


@dataclass(frozen=True)
class Interval:
    """
    A mean with its 95 % interval.

    :param low: None, as ``high``, where there is no interval.
    :param over: what was sampled; None without an interval.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    over: Over | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, or the mean twice where there is no interval."""
        if self.low is None or self.high is None:
            return self.mean, self.mean
        return self.low, self.high

    @property
    def width(self) -> float:
        """Distance between the ends; 0 where there is no interval."""
        return self.ends[1] - self.ends[0]

    def percent(
        self, form: str = '.1f', ends: str = '', layout: str = '{} [{}, {}]',
    ) -> str:
        """
        Format as per cent: ``85.0 [80.1, 89.3]``; the mean alone where there is no interval.

        :param form: of the numbers; may ask for a sign.
        :param ends: of the interval's ends, if another.
        :param layout: with places for the mean and both ends.
        """
        mean = f'{100 * self.mean:{form}}'
        if self.low is None or self.high is None:
            return mean
        return layout.format(mean, *(f'{100 * end:{ends or form}}' for end in self.ends))


@lru_cache(maxsize=16)
def _draws(clusters: int, resamples: int, seed: int) -> Numbers:
    """Draw how often each cluster counts, ``[resamples, clusters]``."""
    rng = np.random.default_rng([seed, clusters])
    draws = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return draws.astype(np.float64)


def bootstrap_mean(
    sums: npt.ArrayLike, counts: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED,
) -> Interval | None:
    """
    Return the mean over all questions, with its interval over clusters.

    :param sums: sum of the values of each cluster's questions, ``[clusters]``.
    :param counts: number of each cluster's questions; a cluster of 0 is ignored.
    :return: None without any question; a mean without an interval for a single cluster.
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
    Return the mean of one value a question.

    :param values: ``[questions]``; NaN where a question has none.
    :param clusters: ``[questions]``, the number of each question's cluster, usually its stream.
    """
    there = ~np.isnan(values)
    if not there.any():
        return None
    size, owners = int(clusters.max()) + 1, clusters[there]
    return bootstrap_mean(
        np.bincount(owners, values[there], size), np.bincount(owners, None, size),
        resamples=resamples, seed=seed)


def share_of(right: Numbers, clusters: npt.NDArray[np.int64]) -> Interval | None:
    """
    Return the share of ones among zeros and ones.

    :param right: ``[questions]`` of 0, 1, and NaN where a question has none.
    :param clusters: as of :func:`mean_of`.
    """
    found = mean_of(right, clusters)
    there = ~np.isnan(right)
    return found and _choose(
        found, wilson(int(right[there].sum()), int(there.sum())), clusters[there])


def difference_of(differences: Numbers, clusters: npt.NDArray[np.int64]) -> Interval | None:
    """
    Return the difference of two shares from one pair a question.

    :param differences: ``[questions]`` of -1, 0, 1, and NaN where there is no pair.
    :param clusters: as of :func:`mean_of`.
    """
    found = mean_of(differences, clusters)
    there = ~np.isnan(differences)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return found and _choose(
        found, bonett_price(better, worse, int(there.sum())), clusters[there])


def _choose(
    found: Interval, over_questions: Interval, clusters: npt.NDArray[np.int64],
) -> Interval:
    """Choose the interval over clusters, unless they are too few or too much alike for one."""
    few = len(np.unique(clusters)) < FEW
    if found.width < MIN_WIDTH or (few and found.width < over_questions.width):
        return over_questions
    return found


def wilson(right: int, questions: int) -> Interval:
    """Return a share with Wilson's score interval; ``questions`` is at least 1."""
    share = right / questions
    scale = 1 + Z**2 / questions
    middle = (share + Z**2 / (2 * questions)) / scale
    arm = Z * math.sqrt(share * (1 - share) / questions + (Z / (2 * questions))**2) / scale
    # Exactly 0 or 1 at an end, despite rounding.
    return Interval(
        share, 0.0 if right == 0 else middle - arm, 1.0 if right == questions else middle + arm,
        'questions')


def bonett_price(better: int, worse: int, pairs: int) -> Interval:
    """
    Return the difference of two shares on the same questions.

    :param better: questions that only the first got right; ``worse``, only the second.
    :param pairs: questions both were asked, at least 1.
    """
    up, down = (better + 1) / (pairs + 2), (worse + 1) / (pairs + 2)
    arm = Z * math.sqrt((up + down - (up - down)**2) / (pairs + 2))
    return Interval(
        (better - worse) / pairs, max(-1.0, up - down - arm), min(1.0, up - down + arm),
        'questions')
