# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The variants that an evaluation compares: a policy at a budget each.

A budget is a share of the stream's visual tokens, so that streams of any length are compressed
alike, a fixed number of tokens, as on a robot, or a fixed number of grids, as in InfiniPot-V's
released code, whatever the tokens of a grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig

DEFAULT_POLICY = MemoryConfig.policy
GRIDS = 'g'
FULL = 'full'
"""The policy that evicts nothing, and the budget that holds a whole stream."""
ORACLE = 'oracle'
"""In place of a policy: for each question a memory of what shows its answer, and nothing else."""


@dataclass(frozen=True, order=True)
class Variant:
    """
    A policy at a budget.

    :param budget: ``full``; ``/4``, a share of the stream's visual tokens; ``4096``, a number of
        tokens; or ``32g``, a number of grids.
    """

    policy: str
    budget: str

    @property
    def fills_up(self) -> bool:
        """
        Whether the memory is full at the end of a stream whose length is known.

        So it is with budgets in grids, after the released code's loop: what comes before the last
        block is compressed only as far as that block needs.
        """
        return self.budget.endswith(GRIDS)

    def tokens(
        self, grids: int, grid_tokens: int, block_grids: int, *, leave_out: bool = True,
    ) -> int | None:
        """
        Return the budget in visual tokens, a whole number of grids.

        :param grids: grids of the stream, of ``grid_tokens`` tokens each.
        :param block_grids: grids encoded in one forward pass, for which there must be room.
        :param leave_out: return None where the budget would hold the whole stream, so that nothing
            would be compressed; otherwise at most the tokens of the stream and a block.
        :raises ConfigurationError: the budget is malformed, or holds less than one grid.
        """
        divisor = budget_divisor(self.budget)
        if divisor == 1:
            return (grids + block_grids) * grid_tokens
        if divisor:
            kept = round(grids / divisor)
        else:
            kept = budget_size(self.budget) // (1 if self.fills_up else grid_tokens)
        if not kept:
            raise ConfigurationError(
                f'budget {self.budget} of a stream of {grids} grids holds no grid of '
                f'{grid_tokens} tokens; give {grid_tokens} tokens or more, or a larger share')
        if leave_out:
            return kept * grid_tokens if kept < grids else None
        return min(kept, grids + block_grids) * grid_tokens

    def apply(self, settings: MemoryConfig) -> MemoryConfig:
        """
        Return the settings with this policy, and those of the ratios that it uses.

        What keeps all frames whole has none to encode again, nor room for them.
        """
        chosen = replace(settings, policy=self.policy, tar_ratio=None, recent_ratio=None)
        for name in ('tar_ratio', 'recent_ratio'):
            wanted = replace(chosen, **{name: getattr(settings, name)})
            try:
                wanted.make_policy()
            except ConfigurationError:
                continue
            chosen = wanted
        return chosen if self.policy != FULL else replace(
            chosen, recent_frames=0, second_look_frames=0)


def budget_divisor(budget: str) -> int | None:
    """
    Parse a budget: 1 for ``full``, 8 for ``/8``, None for a number of tokens or grids.

    :raises ConfigurationError: it is none of these.
    """
    if budget == FULL:
        return 1
    if budget.startswith('/') and budget[1:].isdecimal() and int(budget[1:]) > 1:
        return int(budget[1:])
    if budget.removesuffix(GRIDS).isdecimal() and budget_size(budget) > 0:
        return None
    raise ConfigurationError(
        f"budget {budget!r} is not valid; give 'full', a share of the stream such as /8, a "
        'number of visual tokens such as 1024, or of grids such as 32g')


def budget_size(budget: str) -> int:
    """Return the number of a fixed budget, of tokens or of grids."""
    return int(budget.removesuffix(GRIDS))


def make_variants(policies: Iterable[str], budgets: Iterable[str]) -> list[Variant]:
    """
    Combine policies and budgets; the policy ``full`` goes with the budget ``full`` only.

    :raises ConfigurationError: an unknown policy or budget, or no variant at all.
    """
    chosen = list(dict.fromkeys(policies))
    sizes = [size for size in dict.fromkeys(budgets) if budget_divisor(size) != 1]
    for policy in chosen:
        MemoryConfig('', policy=policy).validate()
    variants = [Variant(FULL, FULL)] if FULL in chosen else []
    variants += [Variant(policy, size) for policy in chosen if policy != FULL for size in sizes]
    if not variants:
        raise ConfigurationError(
            f'policies {", ".join(chosen) or "(none)"} and budgets {", ".join(sizes) or "(none)"} '
            'leave nothing to evaluate; give a policy other than full and a budget, or the policy '
            'full')
    return variants
