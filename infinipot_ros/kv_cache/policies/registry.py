# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Find policies by name, as parameters and command lines give them.

A policy is one file of this folder: a constant ``NAMES``, the names it goes by, and one class that
derives from ``EvictionPolicy``. Nothing else has to be edited. The names are read without running
the files, so that listing them needs no torch.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from infinipot_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy

# The paper's method (arXiv:2506.15745), which was measured on published models.
DEFAULT_POLICY = 'infinipot_v'


def read_names(path: Path) -> tuple[str, ...]:
    """Return the constant ``NAMES`` of a Python file, empty where it has none."""
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [
                'NAMES']:
            return tuple(ast.literal_eval(node.value))
    return ()


_MODULES = {
    name: path.stem for path in sorted(Path(__file__).parent.glob('*.py'))
    for name in read_names(path)}

POLICY_NAMES = tuple(_MODULES)


def make_policy(
    name: str, *, tar_ratio: float | None = None, recent_ratio: float | None = None,
) -> EvictionPolicy:
    """
    Build a policy.

    :param name: one of ``POLICY_NAMES``; ``infinipot_v`` is its ``true_coordinates`` variant.
    :param tar_ratio: alpha, or None for the policy's own.
    :param recent_ratio: r, or None for the policy's own.
    :raises ConfigurationError: an unknown name, or a ratio the policy has no use for.
    """
    from infinipot_ros.kv_cache.policies.eviction_policy import EvictionPolicy
    if name not in _MODULES:
        raise ConfigurationError(
            f'there is no policy {name!r}; choose one of {", ".join(POLICY_NAMES)}')
    module = importlib.import_module(f'{__package__}.{_MODULES[name]}')
    (policy,) = (
        each for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, EvictionPolicy)
        and each.__module__ == module.__name__)
    given = {'tar_ratio': tar_ratio, 'recent_ratio': recent_ratio}
    made: EvictionPolicy = policy.named(
        name, {ratio: value for ratio, value in given.items() if value is not None})
    return made
