# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The published annotation files, where they are: all load, with the counts they are known by."""

from __future__ import annotations

from collections import Counter

import pytest
from annotations import OWN, shared_data
from question_checks import check_choices, check_questions

from infinipot_ros.evaluation.benchmarks.registry import load
from infinipot_ros.evaluation.scoring import score
from infinipot_ros.ros_time import SECOND_NS


def real(name):
    """The path of a real file; its test is deselected where there is none."""
    return shared_data(f'annotations/{name}')


def needs(*names):
    return pytest.mark.shared_data(*(f'annotations/{name}' for name in names))


def questions(name, file):
    return [question for video in load(name, real(file)) for question in video.questions]


@pytest.mark.parametrize(('name', 'file'), [
    pytest.param(form, file, marks=needs(file)) for file, (form, _) in OWN.items()])
def test_every_question_can_be_asked_and_its_answer_be_right(name, file):
    videos = load(name, real(file))
    check_questions(name, videos)
    check_choices([question for video in videos for question in video.questions])


@needs('ovobench.json')
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


@needs('streamingbench_real_stream.json')
def test_streamingbench_real_has_its_tasks_and_mends_its_slips():
    found = questions('streamingbench', 'streamingbench_real_stream.json')
    assert len(found) == 2495
    assert Counter(each.kind for each in found)['Object Recognition'] == 367
    assert {each.suite for each in found} == {'streamingbench real'}
    # Written 00:12450, in a clip from 0:12:00 to 0:13:00.
    assert (12 * 60 + 45) * SECOND_NS in {each.ask_at_ns for each in found}


@needs('streamingbench_proactive.json')
def test_streamingbench_proactive_counts():
    videos = load('streamingbench', real('streamingbench_proactive.json'))
    found = Counter(each.kind for video in videos for each in video.questions)
    assert found['Proactive Output: now'] == found['Proactive Output: output'] == 51


@needs('openeqa.json')
def test_openeqa_counts_and_extra_answers():
    found = questions('openeqa', 'openeqa.json')
    assert len(found) == 1636
    assert Counter(each.kind for each in found)['object localization'] == 263
    [mirror] = [each for each in found if each.id == '501c3264-ca08-487d-a038-0e83968359f6']
    assert score(mirror, 'by the stairs') == 1.0


@needs('videomme_flashvstream.json', 'mlvu_flashvstream.json', 'egoschema_flashvstream.json')
def test_flash_vstream_forms_count():
    assert Counter(each.suite for each in questions('videomme', 'videomme_flashvstream.json')) == {
        'videomme short': 900, 'videomme medium': 900, 'videomme long': 900}
    assert Counter(each.kind for each in questions('mlvu', 'mlvu_flashvstream.json')) == {
        'plotQA': 539, 'findNeedle': 355, 'ego': 352, 'topic_reasoning': 264, 'order': 259,
        'count': 206, 'anomaly_reco': 200}
    assert len(questions('egoschema', 'egoschema_flashvstream.json')) == 500
