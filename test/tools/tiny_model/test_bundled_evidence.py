# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
What the bundled model's answers about the bundled tour rest on, against the rendered truth.

``benchmarks/evidence.py`` measures it on whole suites; here are a few questions in several
wordings.
"""

import json
import math
from itertools import combinations
from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from infinipot_ros.node.pose_buffer import PoseBuffer
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.answer_text import same_answer
from infinipot_ros.visual_memory.frame import Pose
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.scope import Scope
from infinipot_ros.visual_memory.visual_memory import VisualMemory
from tools.tiny_model.questions import TEMPLATES

ROOT = Path(__file__).resolve().parents[3]
MODEL, DEMO = ROOT / 'models' / 'infinipot-tiny', ROOT / 'demo'
BUDGET = 1024


def wordings(question):
    """The question as it is, and in the other words of its kind."""
    canonical, *others = TEMPLATES[question['kind']]
    before, _, after = canonical.partition('{thing}')
    thing = question['question'][len(before):len(question['question']) - len(after)]
    return [question['question'], *(other.format(thing=thing) for other in others[:4])]


@pytest.fixture(scope='module')
def places():
    """Where the robot was on the tour: x, y in metres by stamp, from its odometry."""
    with AnyReader([DEMO / 'tour'], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as bag:
        lines = [line for line in bag.connections if line.topic == '/odom']
        messages = [bag.deserialize(raw, line.msgtype) for line, _, raw in bag.messages(lines)]
    return {
        message.header.stamp.sec * 10 ** 9 + message.header.stamp.nanosec: (
            message.pose.pose.position.x, message.pose.pose.position.y) for message in messages}


@pytest.fixture(scope='module')
def told(places):
    """Every rightly answered wording: question, answer, and the answer in a scope of its truth."""
    lines = (DEMO / 'questions.jsonl').read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    observer = VisualMemory(MemoryConfig(model=str(MODEL), budget=BUDGET, max_new_tokens=12))
    found = []
    # Odometry of every other frame: those between have theirs interpolated, over a second.
    poses = PoseBuffer(lambda: 10 ** 9)
    for stamp_ns in list(places)[1::2]:
        poses.add(stamp_ns, Pose(*places[stamp_ns], 0.0, 0.0, 0.0, 0.0, 1.0, frame_id='odom'))
    for frame in open_source(DEMO / 'tour'):
        observer.add_frame(frame.rgb, frame.stamp_ns, pose=poses.at(frame.stamp_ns))
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
    # Measured: see docs/explanation/evidence.md. A moment drawn at random would be right for about
    # a quarter.
    assert sum(hits) >= 0.65 * len(hits), f'{sum(hits)} of {len(hits)}'


def test_the_pose_of_the_best_moment_is_where_it_was_seen(told, places):
    near, errors = 0, []
    for question, answer, _, _ in told:
        best = answer.evidence[0]
        assert best.pose.frame_id == 'odom'
        position = best.pose.x, best.pose.y
        errors.append(math.dist(position, places[best.stamp_ns]))
        within = []
        for low, high in question['evidence']:
            inside = [place for stamp, place in places.items() if low <= stamp <= high]
            extent = max((math.dist(*pair) for pair in combinations(inside, 2)), default=0.0)
            within.append(min(math.dist(position, place) for place in inside) <= extent)
        near += any(within)
    assert max(errors) < 0.2, 'interpolated between frames a second apart: never far'
    assert near >= 0.8 * len(told), f'{near} of {len(told)}'


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
