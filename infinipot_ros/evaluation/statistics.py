# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Means with 95 % intervals, for questions of which many share a stream.

Questions about one stream stand or fall together, so whole streams are what is drawn anew (the
cluster bootstrap), and the interval is between percentiles of the means so drawn. Streams that
share something that makes them hard, a house say, are one cluster. Two cells are compared on the
questions both were asked, cluster by cluster, so that what makes one hard cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 2024

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """
    A mean and where it lies, 95 times of 100.

    :param low: None, as ``high``, where fewer than two clusters say anything.
    """

    mean: float
    low: float | None
    high: float | None

    def percent(self, form: str = '.1f') -> str:
        """Write it for people: ``85.0 [80.1, 89.3]``; ``form`` may ask for a sign."""
        mean = f'{100 * self.mean:{form}}'
        if self.low is None or self.high is None:
            return mean
        return f'{mean} [{100 * self.low:{form}}, {100 * self.high:{form}}]'


@lru_cache(maxsize=64)
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
        return Interval(mean, None, None)
    draws = _draws(len(count), resamples, seed)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile((draws @ total) / (draws @ count), [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


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
