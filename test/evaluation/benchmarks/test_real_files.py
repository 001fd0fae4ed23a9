# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmarks' real annotation files: all of them load, with the counts they are known by."""

from __future__ import annotations

from collections import Counter

import pytest
from annotations import annotation

from infinipot_ros.evaluation.benchmarks.registry import load
from infinipot_ros.evaluation.benchmarks.times import SECOND_NS
from infinipot_ros.evaluation.choice_parsing import LETTERS, option_letter
from infinipot_ros.evaluation.scoring import SCORERS, score

FILES = [
    ('ovobench', 'ovobench.json'), ('streamingbench', 'streamingbench_real_stream.json'),
    ('streamingbench', 'streamingbench_sqa_stream.json'),
    ('streamingbench', 'streamingbench_proactive.json'), ('openeqa', 'openeqa.json'),
    ('openeqa', 'openeqa_demo.json'), ('egoschema', 'egoschema_flashvstream.json'),
    ('videomme', 'videomme_flashvstream.json'), ('mlvu', 'mlvu_flashvstream.json'),
]


def questions(name, file):
    return [question for video in load(name, annotation(file)) for question in video.questions]


@pytest.mark.parametrize(('name', 'file'), FILES)
def test_every_question_can_be_asked_and_its_answer_be_right(name, file):
    videos = load(name, annotation(file))
    assert videos
    for video in videos:
        assert video.video and not video.video.startswith('./')
        assert len({question.id for question in video.questions}) == len(video.questions)
        for question in video.questions:
            assert question.question.strip() and question.kind and question.suite.startswith(name)
            assert question.scorer in SCORERS
            assert question.ask_at_ns is None or question.ask_at_ns >= video.start_ns
            # What is right scores 1 by its own rule, and nothing at all scores 0.
            assert score(question, question.answer) == 1.0
            assert score(question, '') == 0.0
            for start, end in question.evidence:
                assert video.start_ns <= start <= end


@pytest.mark.parametrize(('name', 'file'), FILES)
def test_letters_are_those_of_options_and_the_prompt_shows_them(name, file):
    chosen = [each for each in questions(name, file) if each.scorer == 'letter']
    for question in chosen:
        assert question.answer in LETTERS[:len(question.options)]
        assert all(option in question.question for option in question.options)
        right = question.options[LETTERS.index(question.answer)]
        # The right option in its own words counts, unless its words read as a letter.
        if len(right.strip(' .()')) > 1 and question.options.count(right) == 1:
            assert option_letter(right, question.options) == question.answer
    assert bool(chosen) == (name != 'openeqa' and 'proactive' not in file)


def test_ovobench_counts_by_task_and_suite():
    found = questions('ovobench', 'ovobench.json')
    assert Counter(each.kind for each in found) == {
        'EPM': 297, 'HLD': 186, 'OJR': 184, 'STU': 178, 'OCR': 149, 'ASI': 148, 'ATR': 116,
        'ACR': 109, 'FPD': 101, 'REC': 698, 'SSR': 629, 'CRR': 240}
    # The 1,640 entries: forward ones ask several times, and their ids say of which they are.
    assert len({each.id.split('.')[0] for each in found}) == 1640
    entries = Counter(each.kind for each in {each.id.split('.')[0]: each for each in found
                                             if each.suite == 'ovobench forward'}.values())
    assert entries == {'REC': 82, 'CRR': 48, 'SSR': 42}
    assert Counter(each.suite for each in found) == {
        'ovobench backward': 631, 'ovobench real-time': 837, 'ovobench forward': 1567}


def test_ovobench_asks_at_the_time_the_file_says():
    by_id = {each.id: each for each in questions('ovobench', 'ovobench.json')}
    first = by_id['0']
    assert (first.ask_at_ns, first.clock, first.answer) == (215 * SECOND_NS, 'start', 'C')
    assert first.options[2] == 'a person with blue shirt'
    # CRR 1468: the clue is at 308 s; asked at 297, 302, 310, 318 and 338 s.
    clues = [by_id[f'1468.{number}'] for number in range(5)]
    assert [each.answer for each in clues] == ['No', 'No', 'Yes', 'Yes', 'Yes']
    assert [each.ask_at_ns for each in clues] == [
        seconds * SECOND_NS for seconds in (297, 302, 310, 318, 338)]
    assert [list(each.evidence) for each in clues] == [[]] * 2 + [[(308 * SECOND_NS,) * 2]] * 3
    assert by_id['1516.1'].evidence == [(25 * SECOND_NS, 30 * SECOND_NS)]


def test_streamingbench_real_has_its_tasks_and_mends_its_slips():
    found = questions('streamingbench', 'streamingbench_real_stream.json')
    assert len(found) == 2495
    assert Counter(each.kind for each in found)['Object Recognition'] == 367
    assert {each.suite for each in found} == {'streamingbench real'}
    # Written 00:12450, in a clip from 0:12:00 to 0:13:00.
    [painting] = [each for each in found if 'painting background of a portrait' in each.question]
    assert painting.ask_at_ns == (12 * 60 + 45) * SECOND_NS
    [bean] = [each for each in found if 'flying in the toy plane' in each.question]
    assert bean.ask_at_ns == 24 * SECOND_NS


def test_streamingbench_sqa_carries_what_was_asked_before():
    [first] = [video for video in load(
        'streamingbench', annotation('streamingbench_sqa_stream.json'))
        if video.video == 'videos/sample_17_sqa.mp4']
    texts = [question.question for question in first.questions]
    assert len(texts) == 5 and 'At timestamp' not in texts[0]
    assert [text.count('At timestamp') for text in texts] == [0, 1, 2, 3, 4]
    assert 'Who is preparing to serve the ball now?' in texts[4]
    assert first.questions[0].options[0] == 'Wang chuqin.'


def test_streamingbench_proactive_asks_not_yet_now_and_what():
    videos = load('streamingbench', annotation('streamingbench_proactive.json'))
    found = Counter(each.kind for video in videos for each in video.questions)
    assert found['Proactive Output: now'] == found['Proactive Output: output'] == 51
    video = videos[0]  # asked at 10:18, to be said at 10:25
    assert video.start_ns == 618 * SECOND_NS
    assert [(each.ask_at_ns // SECOND_NS, each.answer) for each in video.questions] == [
        (619, 'no'), (620, 'no'), (621, 'no'), (622, 'no'), (625, 'yes'), (625, 'Break point')]


def test_openeqa_counts_and_extra_answers():
    found = questions('openeqa', 'openeqa.json')
    assert len(found) == 1636
    assert Counter(each.kind for each in found)['object localization'] == 263
    [mirror] = [each for each in found if each.id == '501c3264-ca08-487d-a038-0e83968359f6']
    assert score(mirror, 'by the stairs') == 1.0
    [demo] = load('openeqa', annotation('openeqa_demo.json'))
    assert demo.video == 'assets/open-eqa-hm3d-demo'
    assert [each.answer for each in demo.questions] == [
        'Eight chairs', "Don't turn. Keep walking straight.", 'Bedroom']


def test_flash_vstream_forms_count_and_split_their_options():
    assert Counter(each.suite for each in questions('videomme', 'videomme_flashvstream.json')) == {
        'videomme short': 900, 'videomme medium': 900, 'videomme long': 900}
    assert Counter(each.kind for each in questions('mlvu', 'mlvu_flashvstream.json')) == {
        'plotQA': 539, 'findNeedle': 355, 'ego': 352, 'topic_reasoning': 264, 'order': 259,
        'count': 206, 'anomaly_reco': 200}
    schema = questions('egoschema', 'egoschema_flashvstream.json')
    assert len(schema) == 500
    assert schema[0].options == [
        'C is cooking.', 'C is doing laundry.', 'C is cleaning the kitchen.',
        'C is cleaning dishes.', 'C is cleaning the bathroom.']
    assert schema[0].question.count('Select the best answer') == 1
    assert schema[0].question.count('Only give the best option.') == 1
