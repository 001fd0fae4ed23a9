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
    """
    Return the constant ``NAMES`` of a Python file, empty where it has none.

    :raises ConfigurationError: the file is no Python, or its names are not written out.
    """
    try:
        # A file that was removed since the package was built leaves a link to nothing.
        source = path.read_text(encoding='utf-8') if path.is_file() else ''
        for node in ast.parse(source, str(path)).body:
            if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [
                    'NAMES']:
                names = ast.literal_eval(node.value)
                if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
                    raise ValueError(f'NAMES is {names!r}')
                return names
    except (SyntaxError, ValueError) as error:
        raise ConfigurationError(
            f'{path}: {error}; a policy is Python whose NAMES is a tuple of names, written out'
        ) from error
    return ()


def _find_modules(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return the modules of all policies by name, and what is wrong with others."""
    modules, faults = {}, []
    for path in sorted(folder.glob('*.py')):
        try:
            modules.update(dict.fromkeys(read_names(path), path.stem))
        except ConfigurationError as error:
            # One bad file costs no other policy.
            faults.append(str(error))
    return modules, faults


_MODULES, _FAULTS = _find_modules(Path(__file__).parent)

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
            '; '.join([f'there is no policy {name!r}; choose one of {", ".join(POLICY_NAMES)}',
                       *_FAULTS]))
    module = importlib.import_module(f'{__package__}.{_MODULES[name]}')
    (policy,) = (
        each for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, EvictionPolicy)
        and each.__module__ == module.__name__)
    given = {'tar_ratio': tar_ratio, 'recent_ratio': recent_ratio}
    made: EvictionPolicy = policy.named(
        name, {ratio: value for ratio, value in given.items() if value is not None})
    return made
