# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The page of the figures, from their file alone: docs/reference/performance.md and its plots.

The page is text that any machine makes alike; plots need matplotlib (extra ``report``) and are
left as they are where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.results import EARLIER, section_of
from benchmarks.speed.section import Curves, Section
from infinipot_ros.evaluation.report.plots import COLOURS, OTHER_MARKS, can_draw, draw
from infinipot_ros.evaluation.run_store import write_whole
from infinipot_ros.visual_memory.plan_table import markdown as markdown_table

GIB = 1024 ** 3
# Legible on a light page and on a dark one.
INK = '#7d7d7d'
REPEATS = (
    ' A repeat runs every way there and back, short ones many times over, and takes the median; '
    'on a processor, times are without those that other programs had it. '
    '*Spread* is how wide the range is, of the median: where it is more than 10 %, the figure '
    'waits for a quieter machine.')
FLOOR = (
    'The *floor* of a step is the least time this machine could take for it: the floating-point '
    'operations that it needs over the rate of matrix products, or the bytes of weights, keys and '
    'values that it moves over the bandwidth of copies, whichever is more. Both rates are '
    'measured just before, of the same type, on as many threads. *Times the floor* is what was '
    'measured over it; [the floor](../explanation/floor.md) says what it leaves out.')


def markdown(results: Mapping[str, Any], plots: str = 'performance') -> str:
    """
    Write the page.

    :param results: what ``read_results`` gave.
    :param plots: folder of the plots, as seen from the page.
    """
    sections = [section_of(data) for data in results['sections']]
    lines = ['# Performance', '', *_provenance(results), '']
    targets = [(section, target) for section in sections for target in section.targets]
    if targets:
        lines += ['## Targets', '']
        lines.append(markdown_table(('', 'wanted', 'measured', ''), [
            (target.what, target.wanted, target.measured,
             'met' if target.met else '**missed**') for _, target in targets]))
    for section, data in zip(sections, results['sections']):
        lines += [f'## {section.title}', '', section.about, '']
        if 'measured' in data:
            lines += [f'*Measured {data["measured"]}, code {data["code"]}.*', '']
        if section.rates is not None:
            lines += [f'*Floors are of {section.rates.text()}.*', '']
        for table in section.tables:
            lines += [f'**{table.title}**', '', markdown_table(table.columns, table.rows)]
        for number, curves in enumerate(section.curves):
            name = plot_name(section, number)
            lines += [f'![{curves.title}: {curves.y} against {curves.x}]({plots}/{name})', '']
    for title, reasons in (('Left out', results['left_out']), ('Failed', results['failed'])):
        if reasons:
            lines += [f'## {title}', '']
            # More than its first line, such as the end of a log, is in the file.
            lines += [
                f'- `{name}`: {reason.splitlines()[0]}' for name, reason in reasons.items()]
            lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def _provenance(results: Mapping[str, Any]) -> Iterator[str]:
    host, options = results['host'], results['options']
    device = host['gpu'] or host['processor']
    versions = ', '.join(
        f'{name} {version}' for name, version in results['versions'].items() if version)
    form = 'the quick form' if options['quick'] else 'the whole'
    how = REPEATS
    if results['format'] == EARLIER:
        how = ' These figures are of an earlier form of the command, without floors.'
    yield (
        'Made by `infinipot bench speed` (`make bench`) from `benchmarks/results.json`; do not '
        'edit. What is compared was run in turns in one run, unless a section says otherwise; a '
        f'time is the median of {options["repeats"]} repeats, with the range in brackets, and a '
        f'ratio that of the ratios within each repeat.{how} *The memory* is all of infinipot_ros '
        'around the model; `rarity`, `infinipot_v` and `swa`, a sliding window, are policies, '
        'which decide what tokens stay ([method](../explanation/method.md)).')
    yield ''
    if results['format'] != EARLIER:
        yield from (FLOOR, '')
    table = markdown_table(('', ''), [
        ('measured', f'{results["measured"]}, {form}'),
        ('device', f'{options["device"]} ({device}), {options["dtype"]}'),
        ('host', f'{host["processor"]}, {host["cores"]} cores, '
                 f'{host["memory"] / GIB:.0f} GiB, {host["os"]}; torch on '
                 f'{results["torch_threads"]} of them'),
        ('versions', versions),
        ('code', f'{results["code"]}; bundled model {results["model"]["weights_sha256"][:12]}')])
    yield table.rstrip()


def plot_name(section: Section, number: int) -> str:
    """Name the file of a section's plot."""
    return f'{section.name}-{number + 1}.svg'


def svg(section: Section, number: int) -> str:
    """Draw one of a section's plots, as a file of its own; needs matplotlib."""
    curves = section.curves[number]

    def paint(axes: Any) -> None:
        for index, (name, points) in enumerate(curves.series.items()):
            axes.plot(
                [x for x, _ in points], [y for _, y in points], label=name,
                color=COLOURS[index % len(COLOURS)],
                marker=OTHER_MARKS[index % len(OTHER_MARKS)], markersize=4)
        axes.set(
            xlabel=curves.x, ylabel=curves.y, xscale='log' if curves.log_x else 'linear',
            yscale='log' if curves.log_y else 'linear')
        if not curves.log_y:
            # Flat is to look flat: no axis makes a little much.
            axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8)

    plot = draw(f'{section.name}-{number}', curves.title, _summary(curves), paint)
    # As a file it has no page whose colour it could take on, and says itself what it is.
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return plot.svg.replace('<svg ', f'<svg {names} color="{INK}" ', 1) + '\n'


def _summary(curves: Curves) -> str:
    return '; '.join(
        f'{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}'
        for name, points in curves.series.items() if points)


def write_page(results: Mapping[str, Any], page: Path) -> list[Path]:
    """
    Write the page, and its plots into a folder of its name beside it where they can be drawn.

    :return: what was written.
    """
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, markdown(results, page.stem))
    written = [page]
    if can_draw():
        folder = page.with_suffix('')
        folder.mkdir(exist_ok=True)
        for data in results['sections']:
            section = section_of(data)
            for number in range(len(section.curves)):
                path = folder / plot_name(section, number)
                write_whole(path, svg(section, number))
                written.append(path)
        for stale in set(folder.glob('*.svg')) - set(written):
            stale.unlink()
    return written
