# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Which seeds may be trained on, and which may not.

A house, its tour and its questions all follow from one seed. Every split owns a range of seeds
that overlaps no other, so a tour of one split cannot be drawn for another.
"""

from __future__ import annotations

from infinipot_ros.errors import ConfigurationError

SPLITS: dict[str, range] = {
    'train': range(0, 1_000_000),
    'validation': range(1_000_000, 2_000_000),
    'test': range(2_000_000, 3_000_000),
}


def split_of(seed: int) -> str:
    """Name the split that owns ``seed``; raises ConfigurationError for a seed nobody owns."""
    for name, owned in SPLITS.items():
        if seed in owned:
            return name
    raise ConfigurationError(f'seed {seed} belongs to no split; use 0 to 2999999')


def seed_range(split: str, count: int, start: int = 0) -> range:
    """
    Take ``count`` seeds of a split, from its ``start``-th on.

    :raises ConfigurationError: the split is unknown or has too few seeds.
    """
    if split not in SPLITS:
        raise ConfigurationError(f'no split {split!r}; there are {", ".join(SPLITS)}')
    owned = SPLITS[split]
    if start < 0 or count < 0 or start + count > len(owned):
        raise ConfigurationError(
            f'{split} owns {len(owned)} seeds; {count} from number {start} on are not there')
    return owned[start:start + count]
