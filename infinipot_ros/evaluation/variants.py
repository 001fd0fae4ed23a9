# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What is compared: a policy at a budget, called a cell.

It is a cell of the benchmark's table, policies by budgets. The token grid of a picture, whose
cells go by that name elsewhere, has nothing to do with it.

A budget is written as a share of the stream's visual tokens, so that compression is the same for
streams of any length, or as a fixed number of tokens, as a robot has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig

DEFAULT_POLICY = MemoryConfig.policy
FULL = 'full'
"""The policy that forgets nothing, and the budget that holds a whole stream."""


@dataclass(frozen=True, order=True)
class Variant:
    """
    A policy at a budget.

    :param budget: ``full``; ``/4``, a share of the stream's visual tokens; or a number of tokens.
    """

    policy: str
    budget: str

    def tokens(
        self, grids: int, grid_tokens: int, block_grids: int, *, leave_out: bool = True,
    ) -> int | None:
        """
        Tell the budget in visual tokens, a whole number of grids.

        :param grids: grids of the stream, of ``grid_tokens`` tokens each.
        :param block_grids: grids encoded in one forward pass, for which room must be left.
        :param leave_out: give None where the budget would hold the whole stream, so that nothing
            would be compressed; else no more than what holds it.
        :return: tokens, or None.
        :raises ConfigurationError: no budget is written like that, or it holds no grid at all.
        """
        divisor = budget_divisor(self.budget)
        if divisor == 1:
            return (grids + block_grids) * grid_tokens
        kept = round(grids / divisor) if divisor else int(self.budget) // grid_tokens
        if not kept:
            raise ConfigurationError(
                f'budget {self.budget} of a stream of {grids} grids holds no grid of '
                f'{grid_tokens} tokens; give {grid_tokens} tokens or more, or a larger share')
        if leave_out:
            return kept * grid_tokens if kept < grids else None
        return min(kept, grids + block_grids) * grid_tokens

    def apply(self, settings: MemoryConfig) -> MemoryConfig:
        """Take over the policy, and of the ratios those it has a use for."""
        chosen = replace(settings, policy=self.policy, tar_ratio=None, recent_ratio=None)
        for name in ('tar_ratio', 'recent_ratio'):
            wanted = replace(chosen, **{name: getattr(settings, name)})
            try:
                wanted.make_policy()
            except ConfigurationError:
                continue
            chosen = wanted
        return chosen


def budget_divisor(budget: str) -> int | None:
    """
    Read a budget: 1 for ``full``, 8 for ``/8``, None for a number of tokens.

    :raises ConfigurationError: it is none of these.
    """
    if budget == FULL:
        return 1
    if budget.startswith('/') and budget[1:].isdecimal() and int(budget[1:]) > 1:
        return int(budget[1:])
    if budget.isdecimal() and int(budget) > 0:
        return None
    raise ConfigurationError(
        f"budget {budget!r} is none; give 'full', a share of the stream such as /8, or a number "
        'of visual tokens such as 1024')


def make_cells(policies: Iterable[str], budgets: Iterable[str]) -> list[Variant]:
    """
    Combine policies and budgets; ``full`` keeps all and has its own budget only.

    :raises ConfigurationError: a policy or a budget that does not exist, or no cell at all.
    """
    chosen = list(dict.fromkeys(policies))
    sizes = [size for size in dict.fromkeys(budgets) if budget_divisor(size) != 1]
    for policy in chosen:
        MemoryConfig('', policy=policy).validate()
    cells = [Variant(FULL, FULL)] if FULL in chosen else []
    cells += [Variant(policy, size) for policy in chosen if policy != FULL for size in sizes]
    if not cells:
        raise ConfigurationError(
            f'policies {", ".join(chosen) or "(none)"} and budgets {", ".join(sizes) or "(none)"} '
            'make no cell; give a policy other than full and a budget, or the policy full')
    return cells
