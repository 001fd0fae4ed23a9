# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A record as tables, which the page and the terminal show alike."""

from __future__ import annotations

from collections.abc import Iterator

from infinipot_ros.evaluation.report.formatting import printable, size_text
from infinipot_ros.evaluation.report.tables import Table, lay_out
from infinipot_ros.evaluation.verify.verification_record import SpeedRow, VerificationRecord

VERDICTS = {True: 'pass', False: 'FAIL', None: 'not compared'}


def record_tables(record: VerificationRecord, *, brief: bool = False) -> Iterator[Table]:
    """
    Lay out everything; what was skipped has its reason in place of figures.

    :param brief: leave out the parts of the plan and the answers' words.
    """
    yield from lay_out(
        "Next-token scores against the plain pipeline's",
        ['dtype', 'verdict', 'largest difference', 'limit', 'the limit is', 'same best token',
         'prompt', 'skipped'],
        ([each.dtype, VERDICTS[each.passed], figure(each.difference, '.2e'),
          figure(each.limit, '.2e'), '' if brief else each.limit_is,
          f'{each.same_best} of {each.tokens}' if each.tokens else '',
          f'{each.prompt_tokens:,} tokens' if each.prompt_tokens else '', each.skipped]
         for each in record.equality))
    memory = record.memory
    parts = {} if brief else memory.plan
    yield from lay_out(
        'Most memory, weights included, against the plan',
        ['', 'verdict', 'peak', 'planned', 'libraries', *parts, 'skipped'],
        [['memory', VERDICTS[memory.passed],
          '' if memory.peak_bytes is None else size_text(memory.peak_bytes),
          size_text(memory.planned_bytes),
          size_text(memory.allowed_bytes) if memory.allowed_bytes else '',
          *map(size_text, parts.values()), memory.skipped]])
    yield from lay_out(
        'The stream, by visual tokens seen',
        ['memory', 'tokens seen', 'frames/s', 'ms to first token', 'tokens/s', 'cache', 'W',
         'skipped'],
        map(_speed_cells, record.speed))
    questions = [] if brief else next(
        (each.answers for each in record.answers if each.answers), [])
    yield from lay_out(
        'What each policy answers about the clip',
        ['policy', 'budget', 'right', *(
            f'{each.question} ({each.expected})' for each in questions), 'skipped'],
        ([each.policy, f'{each.budget:,}',
          f'{sum(one.right for one in each.answers)} of {len(each.answers)}'
          if each.answers else '',
          *([f'{"+" if one.right else "-"} {printable(one.answer)}' for one in each.answers]
            or [''] * len(questions))[:len(questions)], each.skipped]
         for each in record.answers))


def _speed_cells(row: SpeedRow) -> list[str]:
    return [
        row.memory, f'{row.tokens_seen:,}', figure(row.frames_per_s), figure(row.first_token_ms),
        figure(row.tokens_per_s), '' if row.cache_bytes is None else size_text(row.cache_bytes),
        figure(row.power_w), row.skipped]


def figure(value: float | None, form: str = '.3g') -> str:
    """Format a number, None as nothing; large ones in full."""
    if value is None:
        return ''
    return f'{value:,.0f}' if form == '.3g' and abs(value) >= 1000 else f'{value:{form}}'
