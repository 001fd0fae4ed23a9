# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Policies by name, as parameters and command lines give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
from infinipot_ros.kv_cache.policies.full import Full
from infinipot_ros.kv_cache.policies.infinipot_v import VARIANTS, InfinipotV, Variant
from infinipot_ros.kv_cache.policies.random import Random
from infinipot_ros.kv_cache.policies.rarity import Rarity
from infinipot_ros.kv_cache.policies.recent import Recent
from infinipot_ros.kv_cache.policies.swa import SlidingWindow
from infinipot_ros.kv_cache.policies.uniform import Uniform

DEFAULT_POLICY = 'rarity'

_PLAIN: dict[str, Callable[[], EvictionPolicy]] = {
    'full': Full, 'recent': Recent, 'uniform': Uniform, 'swa': SlidingWindow,
    'random': Random, 'rarity': Rarity}

_SCORED: dict[str, Variant] = {
    'infinipot_v': VARIANTS['true_coordinates'],
    'tar': replace(VARIANTS['true_coordinates'], tar_ratio=1.0),
    'van': replace(VARIANTS['true_coordinates'], tar_ratio=0.0),
    **{f'infinipot_v/{name}': variant for name, variant in VARIANTS.items()},
}

POLICY_NAMES = (*_PLAIN, *_SCORED)


def make_policy(
    name: str, *, tar_ratio: float | None = None, recent_ratio: float | None = None,
) -> EvictionPolicy:
    """
    Build a policy.

    :param name: one of ``POLICY_NAMES``; ``infinipot_v`` is its ``true_coordinates`` variant.
    :param tar_ratio: alpha, or None for the policy's own; only for ``infinipot_v``.
    :param recent_ratio: r, or None for the policy's own; for ``infinipot_v``, ``tar``, ``rarity``.
    :raises ConfigurationError: an unknown name, or a ratio the policy has no use for.
    """
    if name in _SCORED:
        variant = _SCORED[name]
        if tar_ratio is not None and name.startswith('infinipot_v'):
            variant = replace(variant, tar_ratio=tar_ratio)
            tar_ratio = None
        if recent_ratio is not None and name != 'van':
            variant = replace(variant, recent_ratio=recent_ratio)
            recent_ratio = None
        policy: EvictionPolicy = InfinipotV(variant)
    elif name == 'rarity' and recent_ratio is not None:
        policy, recent_ratio = Rarity(recent_ratio), None
    elif name in _PLAIN:
        policy = _PLAIN[name]()
    else:
        raise ConfigurationError(
            f'there is no policy {name!r}; choose one of {", ".join(POLICY_NAMES)}')
    for ratio, value in (('tar_ratio', tar_ratio), ('recent_ratio', recent_ratio)):
        if value is not None:
            raise ConfigurationError(
                f'policy {name!r} has no use for {ratio} {value}; leave it at its default')
    return policy
