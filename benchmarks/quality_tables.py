# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The headline of ``infinipot bench quality`` as the Markdown tables of docs/explanation/quality.md.

For example::

    python benchmarks/quality_tables.py quality/results.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

GROUPS = ('all', 'shown', 'compressed 4 times or more', 'delay 100 or more', 'not shown')
LONG = 'delay 100 or more'


def percent(figures: dict[str, Any] | None, name: str, form: str = '.1f') -> str:
    """Write a figure and its interval; nothing where it was not measured."""
    if figures is None or figures[name] is None:
        return ''
    mean, low, high = (figures[name + end] for end in ('', '_low', '_high'))
    if low is None:
        return f'{100 * mean:{form}}'
    return f'{100 * mean:{form}} ({100 * low:.0f} to {100 * high:.0f})'


def table(figures: list[dict[str, Any]], suite: str) -> Iterator[str]:
    """Yield the lines of one suite's table, a policy a line."""
    found = {(each['policy'], each['group']): each for each in figures if each['suite'] == suite}
    heads = ('policy', 'all', 'shown', 'compressed', 'delay 100+', 'never shown', 'less default',
             'evidence kept')
    yield f'| {" | ".join(heads)} |'
    yield f'|{"---|" * len(heads)}'
    for policy in sorted({policy for policy, _ in found}, key=lambda name: (name != 'full', name)):
        cells = [percent(found.get((policy, group)), 'accuracy') for group in GROUPS]
        long = found.get((policy, LONG))
        difference = percent(long, 'against_default', '+.1f')
        kept = ''
        if long is not None and long['retention'] is not None:
            kept = f'{100 * long["retention"]:.0f}'
        yield f'| `{policy}` | {" | ".join(cells)} | {difference} | {kept} |'


def main(
    results: Annotated[Path, typer.Argument(help='results.json of a benchmark.')],
) -> None:
    """Print one table a suite."""
    figures = json.loads(results.read_text())['headline']
    for suite in dict.fromkeys(each['suite'] for each in figures):
        count = next(each['questions'] for each in figures
                     if (each['suite'], each['group']) == (suite, 'all'))
        typer.echo(f'\n**{suite}** ({count} questions)\n')
        for line in table(figures, suite):
            typer.echo(line)


if __name__ == '__main__':
    typer.run(main)
