# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What all plots of a page have in common: the look of a policy, and SVG that takes on the page's.

Needs matplotlib to draw. Colours are those of Okabe and Ito, which colour-blind people tell
apart; every policy has a mark of its own besides, and the default policy the strongest line. What
is black in a file is drawn in the colour of the page's text, so that a dark page can be read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import Any

from infinipot_ros.evaluation.variants import DEFAULT_POLICY, FULL

# Stands in for the colour of the page's text, which matplotlib does not know.
INK = '#010203'
DEFAULT_COLOUR = '#d55e00'
COLOURS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#7f7f7f')
# matplotlib's name of a mark, and a character that looks like it.
MARKS = {'.': '•', 'o': '●', 's': '■', '^': '▲', 'v': '▼', 'D': '◆', 'P': '✚', 'X': '✖', '<': '◀',
         '>': '▶', '*': '★'}
OTHER_MARKS = tuple(MARKS)[2:]
WITHOUT_PLOTS = (
    "Curves need matplotlib, which was not installed: pip install '.[report]' in a clone, and run "
    'the same command again.')
SIZE_INCHES = (4.8, 3.0)


@dataclass(frozen=True)
class Style:
    """How the line of a policy looks everywhere."""

    colour: str
    mark: str
    width: float

    @property
    def css(self) -> str:
        """The colour, for a page."""
        return 'currentColor' if self.colour == INK else self.colour


def styles_of(policies: Iterable[str]) -> dict[str, Style]:
    """Give every policy a look, the same for the same set of policies."""
    names = sorted(set(policies))
    others = [name for name in names if name not in (FULL, DEFAULT_POLICY)]
    styles = {}
    for name in names:
        if name == FULL:
            styles[name] = Style(INK, '.', 1.4)
        elif name == DEFAULT_POLICY:
            styles[name] = Style(DEFAULT_COLOUR, 'o', 2.8)
        else:
            number = others.index(name)
            styles[name] = Style(
                COLOURS[number % len(COLOURS)], OTHER_MARKS[number % len(OTHER_MARKS)], 1.1)
    return styles


def can_draw() -> bool:
    """Tell whether matplotlib is installed."""
    return find_spec('matplotlib') is not None


def draw(name: str, title: str, about: str, paint: Callable[[Any], None]) -> str:
    """
    Draw a plot as an element of a page.

    :param name: unique on the page, for its ids.
    :param title: stands above it.
    :param about: what is to be seen, for those who do not see it.
    :param paint: puts lines and labels on the axes it is given.
    :return: a ``figure`` element.
    """
    import matplotlib
    from matplotlib.figure import Figure

    look: Any = {
        'svg.fonttype': 'none', 'svg.hashsalt': name, 'font.size': 9, 'path.simplify': True,
        'font.family': ['sans-serif'], 'savefig.facecolor': 'none', 'axes.facecolor': 'none',
        'axes.spines.top': False, 'axes.spines.right': False, 'axes.grid': True,
        'grid.alpha': 0.16, 'grid.linewidth': 0.6, 'axes.axisbelow': True,
        **dict.fromkeys(('text.color', 'axes.edgecolor', 'axes.labelcolor', 'xtick.color',
                         'ytick.color', 'grid.color', 'legend.labelcolor'), INK)}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=SIZE_INCHES, layout='constrained', facecolor='none')
        paint(figure.subplots())
        file = io.StringIO()
        figure.savefig(
            file, format='svg',
            metadata={'Date': None, 'Creator': None, 'Format': None, 'Type': None})
    return (f'<figure class="plot"><figcaption>{escape(title)}</figcaption>'
            f'{_inline(file.getvalue(), name, f"{title}. {about}")}</figure>')


def _inline(svg: str, name: str, title: str) -> str:
    """Make a file's SVG an element of a page: named, sized by the page, ids of its own."""
    svg = re.sub(r'<metadata>.*?</metadata>', '', svg[svg.index('<svg'):], flags=re.DOTALL)
    head, body = re.split(r'(?<=>)', svg, maxsplit=1)
    view = re.search(r'viewBox="[^"]*"', head)
    assert view is not None
    prefix = 'plot-' + re.sub(r'\W+', '-', name)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'url\(#', f'url(#{prefix}-', body)
    body = re.sub(r'\b(?:xlink:)?href="#', f'href="#{prefix}-', body)
    body = body.replace(INK, 'currentColor')
    return (
        f'<svg {view.group()} role="img" aria-labelledby="{prefix}-title">'
        f'<title id="{prefix}-title">{escape(title)}</title>{body.strip()}')


def swatch(style: Style) -> str:
    """Draw the sample of a line for a legend."""
    dash = ' stroke-dasharray="5 3"' if style.colour == INK else ''
    return (
        '<svg class="swatch" viewBox="0 0 34 14" aria-hidden="true">'
        f'<path d="M0 7H34" stroke="{style.css}" stroke-width="{style.width}"{dash}/>'
        f'<text x="17" y="11" font-size="11" text-anchor="middle" fill="{style.css}">'
        f'{MARKS[style.mark]}</text></svg>')
