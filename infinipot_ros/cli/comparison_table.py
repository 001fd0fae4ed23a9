# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The answers of several memories side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from infinipot_ros.errors import QuestionError
from infinipot_ros.evaluation.memory_report import MemoryReport, moment_text
from infinipot_ros.evaluation.report.formatting import MAX_MOMENTS, span_text
from infinipot_ros.visual_memory.answer_text import printable


def comparison_tables(reports: Sequence[MemoryReport]) -> Iterator[Table]:
    """Yield a table a question: a column a memory; below its answer what that rests on."""
    for number, question in enumerate(reports[0].questions):
        table = Table(title=Text(f'Q: {printable(question.strip())}'), title_justify='left',
                      box=SIMPLE_HEAD, pad_edge=False, expand=True)
        for report in reports:
            table.add_column(Text(printable(str(report.summary.path))), ratio=1, overflow='fold')
        for row in zip(*(_cells(report, number) for report in reports)):
            if any(row):
                table.add_row(*map(Text, row))
        yield table


def _cells(report: MemoryReport, number: int) -> list[str]:
    """Return answer, remarks, moments and span of one memory."""
    answer = report.answers[number]
    if isinstance(answer, QuestionError):
        return ['(no answer)', printable(str(answer)), '', '']
    cameras = printable(', '.join(filter(None, report.summary.cameras)))
    remarks = [answer.note, 'cut off: --max-new-tokens' if answer.truncated else '']
    return [
        printable(answer.text) or '(nothing)', '. '.join(filter(None, remarks)),
        '\n'.join(moment_text(each, camera=report.several_cameras)
                  for each in answer.evidence[:MAX_MOMENTS]),
        f'observed {span_text(answer.observed_from_ns, answer.observed_to_ns)}'
        + (f' by {cameras}' if cameras else '')]
