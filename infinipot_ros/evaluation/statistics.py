# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Means with 95 % intervals, for questions of which many share a stream.

Questions about one stream stand or fall together, so streams are what is drawn anew (the cluster
bootstrap), and the interval is between percentiles of the means so drawn. Two cells are compared
on the questions both were asked, stream by stream, so that what makes a stream hard cancels out.
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

    :param low: None, as ``high``, where fewer than two streams say anything.
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
def _draws(streams: int, resamples: int, seed: int) -> Numbers:
    """Tell how often each stream is drawn: ``[resamples, streams]``, rows sum to ``streams``."""
    rng = np.random.default_rng([seed, streams])
    draws = rng.multinomial(streams, np.full(streams, 1 / streams), size=resamples)
    return draws.astype(np.float64)


def bootstrap_mean(
    sums: npt.ArrayLike, counts: npt.ArrayLike, *, resamples: int = RESAMPLES, seed: int = SEED,
) -> Interval | None:
    """
    Give the mean over all questions, with its interval over streams.

    :param sums: what the questions of each stream add up to, ``[streams]``.
    :param counts: how many they are; a stream without any plays no part.
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
    values: Numbers, streams: npt.NDArray[np.int64], *, resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval | None:
    """
    Give the mean of one value a question.

    :param values: ``[questions]``; NaN where a question has none.
    :param streams: ``[questions]``, the number of each one's stream.
    """
    there = ~np.isnan(values)
    if not there.any():
        return None
    size = int(streams.max()) + 1
    return bootstrap_mean(
        np.bincount(streams[there], values[there], size), np.bincount(streams[there], None, size),
        resamples=resamples, seed=seed)
