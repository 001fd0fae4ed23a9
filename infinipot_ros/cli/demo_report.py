# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The demo's page: every answer beside what it rests on, when that was and where.

One file with all its pictures, without scripts, for any browser. What a model or a file says is
text on it, never markup.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from infinipot_ros.cli.demo_evidence import EvidenceFrame, Place, Rooms, Shown, counts
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.ask_report import printable
from infinipot_ros.evaluation.report.page_parts import clock_text, fill_page, shorten
from infinipot_ros.ros_time import nanoseconds

TEMPLATE = Path(__file__).with_name('demo_report.html')
TITLE = 'What the robot remembers, and where from'
MAX_CHARACTERS = 1_200
#: The robot on the plan: an arrow along x, in metres.
ARROW = 'M.75 0L-.5 .5L-.2 0L-.5 -.5Z'


@dataclass(frozen=True)
class DemoReport:
    """
    A demo that has ended.

    :param memory: the node's last ``MemoryStatus``.
    :param first_ns: header stamp of the tour's first frame, ``last_ns`` of its last.
    :param rooms: the plan of the house, if there is one.
    """

    shown: Sequence[Shown]
    memory: Any
    first_ns: int
    last_ns: int
    rooms: Rooms | None

    def write(self, path: Path) -> None:
        """
        Write the page, over an older one.

        :raises ConfigurationError: that is not possible there.
        """
        try:
            path.write_text(self.page(), encoding='utf-8')
        except OSError as error:
            raise ConfigurationError(
                f'{path} cannot be written: {error.strerror}; free some space, or give another '
                '--report') from error

    def page(self) -> str:
        """Lay out the page."""
        return fill_page(
            TEMPLATE, TITLE, lede=self._lede(), tiles=self._tiles(),
            cards=''.join(map(self._card, self.shown)))

    def _lede(self) -> str:
        return (
            f'<p>A robot drove through a house for {(self.last_ns - self.first_ns) / 60e9:.1f} '
            'minutes. Its camera frames went over DDS into a memory of '
            f'{self.memory.budget_tokens:,} visual tokens that did not know what would be asked. '
            'Each answer came from what was left there, through the service; with it the node '
            'named the moments that the answer pays attention to, the pose of the robot then, '
            'and a thumbnail.</p>')

    def _tiles(self) -> str:
        memory, shown = self.memory, self.shown
        good, compared = counts(shown)
        tiles = [
            (f'{sum(each.right for each in shown)} of {len(shown)}', 'answers are right'),
            (f'{good} of {compared}', 'best moments show what was asked about'),
            (f'{memory.frames_encoded:,}', 'frames remembered, '
             f'{sum(memory.drop_counts):,} dropped'),
            (f'{memory.memory_tokens:,}', f'tokens of at most {memory.budget_tokens:,}'),
            (f'{memory.compressions:,}', 'compressions'),
            (f'{memory.budget_bytes / 1e6:.1f} MB', 'allocated, once')]
        return ''.join(f'<div><b>{value}</b><span>{what}</span></div>' for value, what in tiles)

    def _card(self, shown: Shown) -> str:
        question, response = shown.result.question, shown.result.response
        said = response.answer if response.success else f'refused: {response.message}'
        verdict = '✓ right' if shown.right else f'✗ wrong, expected: {_text(question.answer)}'
        best = shown.best
        picture = '<p class="best none">The answer names no moment.</p>' if best is None else \
            self._figure(best, 'best', 'the moment it rests on most')
        others = ''.join(self._figure(each, 'other', 'a further moment it rests on')
                         for each in shown.moments[1:])
        return (
            f'<article class="card {"right" if shown.right else "wrong"}"><header class="asked">'
            f'<h2>{_text(question.question)}</h2><p>{_text(said) or "(nothing)"} '
            f'<span class="verdict">{verdict}</span></p></header>'
            f'{picture}<dl>{self._facts(shown)}</dl>{self._plan(shown.moments)}'
            f'{self._line(shown)}{f"""<div class="others">{others}</div>""" if others else ""}'
            '</article>\n')

    def _figure(self, moment: EvidenceFrame, name: str, what: str) -> str:
        when = self._clock(moment.stamp_ns)
        picture = '<p class="none">This thumbnail is no longer held.</p>'
        if moment.thumbnail:
            data = base64.b64encode(moment.thumbnail).decode()
            picture = (f'<img alt="{what}: the camera at {when}" '
                       f'src="data:image/jpeg;base64,{data}">')
        place = moment.place
        where = '' if place is None else ' ' + _text(place.room or place.point)
        return (f'<figure class="{name}">{picture}<figcaption><b>{when}</b>{where}, '
                f'{moment.score:.0%} of its attention</figcaption></figure>')

    def _facts(self, shown: Shown) -> str:
        response, best = shown.result.response, shown.best
        facts = [('asked at', f'{self._clock(shown.result.asked_ns)} <small>answered in '
                  f'{nanoseconds(response.latency) / 1e6:.0f} ms</small>')]
        if best is not None:
            facts += [
                ('best moment', f'{self._clock(best.stamp_ns)} <small>within '
                 f'{self._span(best.first_ns, best.last_ns)}</small>'),
                ('robot was', _where(best.place)),
                ('attention', f'{best.score:.0%} <small>of that paid to the memory</small>')]
        facts.append(('moment shows it', self._verdict(shown)))
        if response.success:
            facts.append(('memory spans', self._span(
                nanoseconds(response.observed_from), nanoseconds(response.observed_to))))
        return ''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)

    def _verdict(self, shown: Shown) -> str:
        if shown.shows_it is None:
            return 'nothing to show <small>never in view on this tour</small>'
        spans = ', '.join(self._span(*each) for each in shown.result.question.evidence)
        word = 'yes' if shown.shows_it else 'no'
        return f'<span class="{word}">{word}</span> <small>in view {spans}</small>'

    def _line(self, shown: Shown) -> str:
        """Draw the tour as a line: when it was in view, and what the answer looked at."""
        whole = max(1, self.last_ns - self.first_ns)

        def share(stamp_ns: int) -> float:
            return min(100.0, max(0.0, 100 * (stamp_ns - self.first_ns) / whole))

        intervals = [(share(low), share(high)) for low, high in shown.result.question.evidence]
        seen = ''.join(
            f'<i class="seen" style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
            for low, high in intervals)
        most = max((each.score for each in shown.moments), default=1.0)
        at = ''.join(
            f'<i class="at{" first" if each is shown.best else ""}" '
            f'style="left:{share(each.stamp_ns):.2f}%;height:{100 * each.score / most:.0f}%"></i>'
            for each in reversed(shown.moments))
        key = '<i class="key seen"></i> in view ' if seen else ''
        return (
            f'<div class="when"><div class="line" role="img" aria-label="the tour as a line">'
            f'<i class="watched" style="width:{share(shown.result.asked_ns):.2f}%"></i>{seen}{at}'
            f'</div><div class="ends"><span>0:00</span><span>{key}<i class="key first"></i> best '
            f'moment <i class="key at"></i> others</span><span>{self._clock(self.last_ns)}</span>'
            '</div></div>')

    def _plan(self, moments: Sequence[EvidenceFrame]) -> str:
        """Draw the house from above, y up, with the robot at the best moment and the others."""
        rooms = self.rooms
        places = [each.place for each in moments
                  if each.place and rooms and each.place.frame_id == rooms.frame_id]
        if rooms is None or not rooms.rooms or not places:
            return ''
        best, *others = places
        left, right = _ends([each.x for each in rooms.rooms])
        bottom, top = _ends([each.y for each in rooms.rooms])
        shapes = ''.join(
            f'<rect{" class=here" if each.name == best.room else ""} x="{each.x[0]:g}" '
            f'y="{-each.y[1]:g}" width="{each.x[1] - each.x[0]:g}" '
            f'height="{each.y[1] - each.y[0]:g}"/>' for each in rooms.rooms)
        shapes += ''.join(
            f'<line x1="{x1:g}" y1="{-y1:g}" x2="{x2:g}" y2="{-y2:g}"/>'
            for (x1, y1), (x2, y2) in rooms.doors)
        shapes += ''.join(
            f'<text x="{sum(each.x) / 2:g}" y="{-each.y[0] - .4:g}">{_text(each.name)}</text>'
            for each in rooms.rooms)
        shapes += ''.join(
            f'<circle cx="{each.x:.2f}" cy="{-each.y:.2f}" r=".24"/>' for each in others)
        shapes += (f'<path d="{ARROW}" transform="translate({best.x:.2f} {-best.y:.2f}) '
                   f'rotate({-math.degrees(best.heading):.0f}) scale(1.25)"/>')
        return (
            f'<svg class="plan" role="img" viewBox="{left - .1:g} {-top - .1:g} '
            f'{right - left + .2:g} {top - bottom + .2:g}"><title>Where the robot was: the arrow '
            f'at the best moment, the dots at the others</title>{shapes}</svg>')

    def _clock(self, stamp_ns: int) -> str:
        return clock_text((stamp_ns - self.first_ns) / 1e9)

    def _span(self, first_ns: int, last_ns: int) -> str:
        return f'{self._clock(first_ns)} to {self._clock(last_ns)}'


def _where(place: Place | None) -> str:
    if place is None:
        return 'not known <small>there was no pose at that time</small>'
    room = f'in the {_text(place.room)} ' if place.room else ''
    return (f'{room}<small>x {place.x:.1f} m, y {place.y:.1f} m in '
            f'{_text(place.frame_id) or "a frame without a name"}</small>')


def _ends(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _text(text: str) -> str:
    return escape(shorten(printable(text), MAX_CHARACTERS))
