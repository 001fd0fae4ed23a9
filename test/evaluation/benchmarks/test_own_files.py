# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small annotation files in the published forms: what is asked, when, and what is right."""

from __future__ import annotations

from collections import Counter

import pytest
from annotations import OWN, write_own
from question_checks import check_choices, check_questions

from infinipot_ros.evaluation.benchmarks.registry import load
from infinipot_ros.evaluation.scoring import score
from infinipot_ros.ros_time import SECOND_NS


def loaded(folder, file):
    return load(OWN[file][0], write_own(folder, file))


def questions(folder, file):
    return [question for video in loaded(folder, file) for question in video.questions]


@pytest.mark.parametrize('file', OWN)
def test_every_question_can_be_asked_and_its_answer_be_right(tmp_path, file):
    videos = loaded(tmp_path, file)
    check_questions(OWN[file][0], videos)
    asked = [question for video in videos for question in video.questions]
    check_choices(asked)
    assert any(each.scorer == 'letter' for each in asked) == (
        'openeqa' not in file and 'proactive' not in file)


def test_ovobench_has_a_suite_for_past_present_and_not_yet(tmp_path):
    found = questions(tmp_path, 'ovobench.json')
    assert Counter(each.suite for each in found) == {
        'ovobench backward': 2, 'ovobench real-time': 1, 'ovobench forward': 6}
    assert Counter(each.kind for each in found) == {
        'EPM': 1, 'HLD': 1, 'OCR': 1, 'REC': 2, 'SSR': 2, 'CRR': 2}


def test_ovobench_asks_at_the_time_the_file_says(tmp_path):
    by_id = {each.id: each for each in questions(tmp_path, 'ovobench.json')}
    first = by_id['0']
    assert (first.ask_at_ns, first.clock, first.answer) == (40 * SECOND_NS, 'start', 'B')
    assert first.options[1] == 'on the stove'
    # Counted so far: one clap at 6 s, two at 20 s, each with its evidence.
    counts = [by_id['3.0'], by_id['3.1']]
    assert [each.answer for each in counts] == ['1', '2']
    assert counts[1].evidence == [(4 * SECOND_NS, 6 * SECOND_NS), (12 * SECOND_NS, 15 * SECOND_NS)]
    # A step that is under way was seen from its start until now; one that is over, not at all.
    assert [each.answer for each in (by_id['4.0'], by_id['4.1'])] == ['Yes', 'No']
    assert by_id['4.0'].evidence == [(2 * SECOND_NS, 5 * SECOND_NS)]
    assert not by_id['4.1'].evidence
    clues = [by_id['5.0'], by_id['5.1']]
    assert [each.answer for each in clues] == ['No', 'Yes']
    assert [each.ask_at_ns for each in clues] == [60 * SECOND_NS, 72 * SECOND_NS]
    assert [list(each.evidence) for each in clues] == [[], [(70 * SECOND_NS,) * 2]]


def test_streamingbench_real_mends_a_time_that_was_mistyped(tmp_path):
    found = questions(tmp_path, 'streamingbench_real_stream.json')
    assert [each.ask_at_ns for each in found] == [8 * SECOND_NS, (12 * 60 + 45) * SECOND_NS]
    assert {each.suite for each in found} == {'streamingbench real'}


def test_streamingbench_sqa_carries_what_was_asked_before(tmp_path):
    [video] = loaded(tmp_path, 'streamingbench_sqa_stream.json')
    assert video.video == 'videos/sample_2_sqa.mp4'
    texts = [question.question for question in video.questions]
    assert [text.count('At timestamp') for text in texts] == [0, 1, 2]
    assert 'Who holds the map?; Options: A. The guide., B. The driver.; Answer: A' in texts[2]


def test_streamingbench_proactive_asks_not_yet_now_and_what(tmp_path):
    [video] = loaded(tmp_path, 'streamingbench_proactive.json')
    assert (video.start_ns, video.end_ns) == (60 * SECOND_NS, 68 * SECOND_NS)
    assert [(each.ask_at_ns // SECOND_NS, each.answer) for each in video.questions] == [
        (61, 'no'), (62, 'no'), (63, 'no'), (66, 'yes'), (66, 'Go')]


def test_openeqa_accepts_the_extra_answers(tmp_path):
    [video] = loaded(tmp_path, 'openeqa.json')
    assert video.video == 'walks/room'
    assert [each.kind for each in video.questions] == [
        'object recognition', 'attribute recognition', 'object localization']
    assert score(video.questions[0], 'a desk lamp') == 1.0


def test_flash_vstream_forms_split_options_off_the_question(tmp_path):
    [ego] = questions(tmp_path, 'egoschema_flashvstream.json')
    assert (ego.answer, ego.options[2]) == ('C', 'Painting a door.')
    assert ego.question.count('Select the best answer') == 1
    assert ego.question.count('Only give the best option.') == 1
    mme = questions(tmp_path, 'videomme_flashvstream.json')
    assert [each.suite for each in mme] == ['videomme short', 'videomme medium', 'videomme long']
    assert [each.answer for each in mme] == ['A', 'B', 'A']
    [mlvu] = questions(tmp_path, 'mlvu_flashvstream.json')
    assert (mlvu.answer, mlvu.options) == ('B', ['A coat', 'A picture', 'A lamp'])
