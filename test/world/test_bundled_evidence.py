# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the bundled model's answers about the bundled tour rest on, against the rendered truth.

``bench/evidence.py`` measures it on whole suites; here are a few questions in several wordings.
"""

import json
from pathlib import Path

import pytest

from infinipot_ros.evaluation.recordings.sources import open_source
from infinipot_ros.observer.answer import same_answer
from infinipot_ros.observer.observer import Observer
from infinipot_ros.observer.scope import Scope
from infinipot_ros.observer.settings import ObserverSettings
from infinipot_ros.world.questions import TEMPLATES

ROOT = Path(__file__).resolve().parents[2]
MODEL, DEMO = ROOT / 'models' / 'infinipot-tiny', ROOT / 'demo'
BUDGET = 1024


def wordings(question):
    """The question as it is, and in the other words of its kind."""
    canonical, *others = TEMPLATES[question['kind']]
    before, _, after = canonical.partition('{thing}')
    thing = question['question'][len(before):len(question['question']) - len(after)]
    return [question['question'], *(other.format(thing=thing) for other in others[:4])]


@pytest.fixture(scope='module')
def told():
    """Every rightly answered wording: question, answer, and the answer in a scope of its truth."""
    lines = (DEMO / 'questions.jsonl').read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    observer = Observer(ObserverSettings(model=str(MODEL), budget=BUDGET, max_new_tokens=12))
    found = []
    for frame in open_source(DEMO / 'tour'):
        observer.observe(frame.rgb, frame.stamp_ns)
        for question in questions:
            if question['ask_at'] != frame.stamp_ns or question['kind'] not in (
                    'colour', 'room', 'seen') or not question['evidence']:
                continue
            (low, _), (_, high) = question['evidence'][0], question['evidence'][-1]
            for text in wordings(question):
                answer = observer.ask(text)
                if same_answer(answer.text, question['answer']):
                    scoped = observer.ask(text, scope=Scope(low, high))
                    found.append((question, answer, scoped, observer.thumbnails))
    return found


def test_the_best_moment_shows_what_was_asked(told):
    hits = [
        any(low <= answer.evidence[0].stamp_ns <= high for low, high in question['evidence'])
        for question, answer, _, _ in told]
    assert len(hits) >= 12
    # Measured: see docs/method.md. A moment drawn at random would be right for about a quarter.
    assert sum(hits) >= 0.65 * len(hits), f'{sum(hits)} of {len(hits)}'


def test_moments_are_stretches_of_the_memory_best_first(told):
    for _, answer, _, thumbnails in told:
        scores = [each.score for each in answer.evidence]
        assert scores == sorted(scores, reverse=True)
        assert 0 < sum(scores) <= 1
        for each in answer.evidence:
            assert answer.observed_from_ns <= each.first_ns <= each.stamp_ns
            assert each.stamp_ns < each.last_ns <= answer.observed_to_ns
            assert thumbnails.get(each.grid) is not None


def test_within_the_truth_s_span_nothing_else_is_named(told):
    for question, _, scoped, _ in told:
        first, last = question['evidence'][0][0], question['evidence'][-1][1]
        assert scoped.evidence
        for each in scoped.evidence:
            # A grid holds two frames, half a second apart; one of them is inside.
            assert first - 500_000_000 <= each.first_ns
            assert each.last_ns <= last + 500_000_000
    assert sum(same_answer(scoped.text, answer.text) for _, answer, scoped, _ in told) >= (
        0.6 * len(told))
