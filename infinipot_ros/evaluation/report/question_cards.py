# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Every question with its picture, what is right and what each memory answered.

The first ones, those that went wrong most often, are cards; the others are rows of a table. Both
are bounded, as are the bytes of pictures, so that a page of thousands of questions still opens.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from infinipot_ros.evaluation.outcome import Outcome
from infinipot_ros.evaluation.report.page_parts import count_text, shorten, stamp_text
from infinipot_ros.evaluation.report.quality_table import cell_order
from infinipot_ros.evaluation.report.wording import Wording, shared_wording
from infinipot_ros.evaluation.variants import FULL

MAX_CARDS = 200
MAX_ROWS = 2_000
MAX_PICTURE_BYTES = 6 * 2**20
MAX_CHARACTERS = 1_200
MAX_CELL_CHARACTERS = 300
MAX_INTERVALS = 4
JPEG = b'\xff\xd8\xff'


@dataclass(frozen=True)
class Verdicts:
    """
    One question and all its outcomes, of one cell each.

    :param start_ns: stamp of the stream's first frame; None where it is not known.
    """

    outcomes: Sequence[Outcome]
    start_ns: int | None

    @property
    def about(self) -> Outcome:
        """Any of them: what is asked is the same in all."""
        return self.outcomes[0]

    @property
    def wrong(self) -> float:
        """The share of cells that were wrong."""
        return sum(not each.right for each in self.outcomes) / len(self.outcomes)

    def answers(self) -> list[tuple[str, list[Outcome]]]:
        """Gather cells that said the same, right ones first, then what most said."""
        found: dict[tuple[bool, str], list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault((outcome.right, outcome.answer.strip()), []).append(outcome)
        order = sorted(found, key=lambda key: (not key[0], -len(found[key]), key[1]))
        return [(answer, found[right, answer]) for right, answer in order]


def gather(outcomes: Sequence[Outcome], starts: Mapping[str, int]) -> list[Verdicts]:
    """
    Sort outcomes to their questions, those that went wrong most often first.

    :param starts: stamp of a stream's first frame, by stream.
    """
    found: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.stream, outcome.id), []).append(outcome)
    asked = [
        Verdicts(sorted(of_one, key=lambda each: cell_order(each.cell)), starts.get(stream))
        for (stream, _), of_one in found.items()]
    return sorted(asked, key=lambda each: (
        -each.wrong, each.about.suite, each.about.stream, each.about.asked_ns))


def question_section(asked: Sequence[Verdicts], folder: Path) -> str:
    """
    Lay out all questions.

    :param folder: what their pictures' paths are relative to.
    """
    if not asked:
        return '<p>No question has been answered yet.</p>'
    wordings = _wordings(asked)
    cards, rows = asked[:MAX_CARDS], asked[MAX_CARDS:MAX_CARDS + MAX_ROWS]
    room = MAX_PICTURE_BYTES
    made: dict[bool, list[str]] = {True: [], False: []}
    for each in cards:
        picture = _picture(each.about.frame, folder, room)
        room -= len(picture)
        made[each.wrong > 0].append(_card(each, picture, wordings))
    wrong = sum(each.wrong > 0 for each in asked)
    text = f'<p>{count_text(len(asked), "question")}'
    text += f', {wrong:,} of which some memory answered wrongly; those most often wrong come ' \
        'first.</p>' if wrong else ', all answered rightly.</p>'
    text += ''.join(_told_once(suite, wording) for suite, wording in wordings.items())
    if made[True]:
        text += f'<div class="cards">{"".join(made[True])}</div>'
    if made[False]:
        head = f'Answered rightly by all ({len(made[False]):,}' + (
            f' of {len(asked) - wrong:,})' if len(asked) - wrong > len(made[False]) else ')')
        text += f'<details{"" if made[True] else " open"}><summary>{head}</summary>' \
            f'<div class="cards">{"".join(made[False])}</div></details>'
    if rows:
        text += (f'<details><summary>{count_text(len(rows), "more question")}</summary>'
                 f'{_rows(rows, wordings)}</details>')
    left = len(asked) - len(cards) - len(rows)
    if left:
        text += f'<p>{left:,} more are in outcomes.jsonl and results.json.</p>'
    return text


def _wordings(asked: Sequence[Verdicts]) -> dict[str, Wording]:
    texts: dict[str, set[str]] = {}
    for each in asked:
        texts.setdefault(each.about.suite, set()).add(each.about.question)
    return {suite: shared_wording(found) for suite, found in texts.items()}


def _told_once(suite: str, wording: Wording) -> str:
    if wording == Wording():
        return ''
    lines = '\n'.join([*wording.start, '[the question]', *wording.end])
    return (f'<details><summary>What all questions of {escape(suite)} begin and end with'
            f'</summary><p class="shared">{_text(lines)}</p></details>')


def _picture(frame: str | None, folder: Path, room: int) -> bytes:
    """Read a picture; nothing if there is none, no room for it, or it is not what it should be."""
    if frame is None:
        return b''
    path = (folder / frame).resolve()
    try:
        if not path.is_relative_to(folder.resolve()) or path.stat().st_size > room:
            return b''
        data = path.read_bytes()
    except OSError:
        return b''
    return data if data.startswith(JPEG) else b''


def _card(asked: Verdicts, picture: bytes, wordings: Mapping[str, Wording]) -> str:
    about = asked.about
    image = ''
    if picture:
        seen = 'the frame in view at the evidence' if about.evidence else 'the frame before it'
        image = (
            f'<img alt="{escape(about.id)}: {seen}" '
            f'src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">')
    where = [about.stream, about.kind, f'asked at {stamp_text(about.asked_ns, asked.start_ns)}']
    if about.delay is not None:
        where.append(f'remembered for {count_text(about.delay, "frame")}')
    options = ''
    if about.options and not all(option in about.question for option in about.options):
        options = f'<ol>{"".join(f"<li>{_text(option)}</li>" for option in about.options)}</ol>'
    answers = ''.join(_answer(answer, given) for answer, given in asked.answers())
    return (
        f'<article class="card {"wrong" if asked.wrong else "right"}">{image}'
        f'<div class="body"><p class="where">{" · ".join(map(escape, where))}</p>'
        f'<h3>{_text(wordings[about.suite].own(about.question))}</h3>{options}'
        f'<p class="expected"><small>expected</small> <b>{_text(about.expected)}</b></p>'
        f'<ul class="answers">{answers}</ul>{_evidence(asked)}</div></article>')


def _answer(answer: str, given: Sequence[Outcome]) -> str:
    right = given[0].right
    scores = sorted({f'{each.score:.2f}' for each in given})
    score = '' if scores == [f'{right:.2f}'] else \
        f' <small>score {" to ".join(dict.fromkeys((scores[0], scores[-1])))}</small>'
    mark, word = ('✓', 'right') if right else ('✗', 'wrong')
    return (
        f'<li class="{word}"><span class="mark" title="{word}">{mark}</span> '
        f'<span class="said">{_text(answer) or "<i>nothing</i>"}</span>{score} '
        f'<span class="cells">{_cells(given)}</span></li>')


def _cells(given: Sequence[Outcome]) -> str:
    """Name who said it: a policy once, with all its budgets, and how long that took."""
    budgets: dict[str, list[str]] = {}
    for each in given:
        budgets.setdefault(each.policy, []).append(each.budget)
    names = ', '.join(
        policy if found == [FULL] else f'{policy} {" ".join(found)}'
        for policy, found in budgets.items())
    seconds = [each.latency_s for each in given]
    low, high = min(seconds), max(seconds)
    took = f'{low:.2f} s' if f'{low:.2f}' == f'{high:.2f}' else f'{low:.2f} to {high:.2f} s'
    return f'{escape(names)} <small>{took}</small>'


def _evidence(asked: Verdicts) -> str:
    found = asked.about.evidence
    if not found:
        return ''
    shown = [
        f'{stamp_text(first, asked.start_ns)} to {stamp_text(last, asked.start_ns)}'
        for first, last in found[:MAX_INTERVALS]]
    more = len(found) - len(shown)
    return (f'<p class="evidence"><small>in view {escape(", ".join(shown))}'
            f'{f" and {more} times more" if more else ""}</small></p>')


def _rows(rows: Sequence[Verdicts], wordings: Mapping[str, Wording]) -> str:
    lines = []
    for each in rows:
        about = each.about
        own = wordings[about.suite].own(about.question)
        right = sum(outcome.right for outcome in each.outcomes)
        others = ', '.join(
            f'{escape(shorten(answer, MAX_CELL_CHARACTERS)) or "<i>nothing</i>"}'
            f'{f" <small>({len(given)} times)</small>" if len(given) > 1 else ""}'
            for answer, given in each.answers() if not given[0].right)
        lines.append(
            f'<tr><td>{escape(shorten(own, MAX_CELL_CHARACTERS))}</td>'
            f'<td>{escape(shorten(about.expected, MAX_CELL_CHARACTERS))}</td><td>{others}</td>'
            f'<td>{right} of {len(each.outcomes)}</td><td>{escape(about.stream)}</td>'
            f'<td>{escape(stamp_text(about.asked_ns, each.start_ns))}</td></tr>')
    heads = ''.join(f'<th scope="col">{head}</th>' for head in (
        'question', 'expected', 'wrong answers', 'right', 'stream', 'asked at'))
    return (f'<div class="wide" tabindex="0"><table class="texts"><thead><tr>{heads}</tr></thead>'
            f'<tbody>{"".join(lines)}</tbody></table></div>')


def _text(text: str) -> str:
    return escape(shorten(text, MAX_CHARACTERS))


