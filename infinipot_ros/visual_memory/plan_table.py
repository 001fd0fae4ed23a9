# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memory plans as rows of a table, in MiB, and such a table of the published shapes."""

from __future__ import annotations

from collections.abc import Sequence

from infinipot_ros.errors import ConfigurationError
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.model_shapes import FULL_NAMES, SHAPES, shape_config
from infinipot_ros.visual_memory.plan import MIB, MemoryPlan, plan_memory
from infinipot_ros.visual_memory.position_rebase import last_time
from infinipot_ros.vlm.families.registry import make_family
from infinipot_ros.vlm.stored_weights import make_skeleton

BUDGETS = (2048, 4096, 8192)
PARTS = ('budget', 'weights', 'cache', 'question and answer', "a block's activations",
         'compression', 'frames and thumbnails', 'in all')

Row = list[str | int]


def plan_row(plan: MemoryPlan, budget: int) -> Row:
    """Return a plan's parts in MiB, in the order of ``PARTS``; states count as cache."""
    parts = (
        plan.weights, plan.cache + plan.states - plan.question, plan.question, plan.activations,
        plan.compression, plan.moments, plan.total)
    return [budget, *(f'{part / MIB:,.0f}' for part in parts)]


def shape_rows(device: str = 'cuda', dtype: str = 'bfloat16') -> list[Row]:
    """
    Return the plans of the published shapes at ``BUDGETS``: name, then ``PARTS``.

    A budget that a model knows too few positions for is left out.
    """
    rows: list[Row] = []
    for name in SHAPES:
        config = shape_config(name)
        family, skeleton = make_family(config), make_skeleton(config)
        for budget in BUDGETS:
            settings = MemoryConfig(name, device=device, dtype=dtype, budget=budget)
            try:
                last_time(family, settings)
            except ConfigurationError:
                continue
            plan = plan_memory(config, settings, skeleton)
            rows.append([FULL_NAMES[name], *plan_row(plan, budget)])
    return rows


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> str:
    """Return a table in Markdown."""
    lines = [
        f'| {" | ".join(map(_cell, columns))} |', '|' + '---|' * len(columns),
        *(f'| {" | ".join(map(_cell, row))} |' for row in rows)]
    return '\n'.join(lines) + '\n'


def _cell(value: str | int | float) -> str:
    if isinstance(value, str):
        return value.replace('|', '\\|')
    if isinstance(value, int):
        return f'{value:,}'
    return f'{value:.4g}' if abs(value) < 1000 else f'{value:,.0f}'
