# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forms of annotation files, written by hand as they are documented, and bad files."""

from __future__ import annotations

import json
import logging

import pytest

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.evaluation.benchmarks.registry import FORMATS, load
from infinipot_ros.evaluation.scoring import score
from infinipot_ros.evaluation.time_parsing import parse_time
from infinipot_ros.ros_time import SECOND_NS

MLVU = {'video': 'movie_1.mp4', 'duration': 246, 'question': 'What color is his hat?',
        'candidates': ['Yellow', 'Red', 'Green', 'Blue'], 'answer': 'Green',
        'question_type': 'plotQA'}
REKV = {'video_id': 'movie_1', 'video_path': 'data/mlvu/videos/1_plotQA/movie_1.mp4',
        'duration': 740.5, 'conversations': [
            {'question': 'What color is his hat?', 'choices': ['Red', 'Blue'], 'answer': 'Blue',
             'question_type': 'plotQA'},
            {'question': 'Who enters?', 'choices': ['A man', 'A dog'], 'answer': 'A man',
             'question_type': 'plotQA'}]}
MME = {'video_id': '001', 'duration': 'short', 'domain': 'Knowledge', 'sub_category': 'History',
       'url': 'https://example.org/watch?v=abc', 'videoID': 'abc', 'question_id': '001-1',
       'task_type': 'Counting Problem', 'question': 'Which tool comes last?',
       'options': ['A. A saw.', 'B. A plane.', 'C. A file.', 'D. None.'], 'answer': 'C'}
EGO = {'q_uid': 'uid-1', 'google_drive_id': 'x', 'question': 'What does C do?',
       'option 0': 'C cooks.', 'option 1': 'C reads.', 'option 2': 'C sleeps.',
       'option 3': 'C runs.', 'option 4': 'C waits.'}
LVB = {'video_id': 'v', 'question': 'At the beginning, who talks?',
       'question_wo_referring_query': 'Who talks?', 'candidates': ['a man', 'a dog', 'nobody'],
       'correct_choice': 0, 'position': [10, 20], 'topic_category': 'KH-Knowledge-History',
       'question_category': 'T2O', 'level': 'IntraMoment', 'id': 'v_0', 'video_path': 'v.mp4',
       'subtitle_path': 'v_en.json', 'duration_group': 600,
       'starting_timestamp_for_subtitles': 0, 'duration': 488.32, 'view_count': 205}
RVS = {'video_id': 'm', 'video_path': 'videos/m.mp4', 'clip_start_time': 600.0,
       'clip_end_time': 4200.0, 'conversations': [
           {'question': 'Who enters?', 'answer': 'A tall man', 'answer_type': 'who',
            'start_time': 610.0, 'end_time': 650.5}]}
RIVER = {'video_source': 'LVBench', 'video_id': 'r', 'video_path': 'r.mp4',
         'duration_sec': 3850.12, 'fps': 25, 'question_type': 'Retro-Memory@short',
         'question_id': 'r@1', 'question': 'What color are the cups?', 'question_time': 571.5,
         'choices': ['(A) Red', '(B) White', '(C) Blue', '(D) Black'], 'correct_answer': 'B',
         'time_reference': [534.5, 543.5]}
HEADER = ('UUID,Seq ID,Question,"Timestamp \nwith answer",'
          '"Type \n(binary, position, time, text)",Text answer,Parsable answer,'
          '"Question\nCategory"\n')
START = 1_675_881_872.5  # 2023-02-08 10:44:32.5 on the clock of the table
ROWS = ('16_SHORT_a,16,"Did you see a van, today?",10:45:00,binary,,Yes,environmental\n'
        '16_LONG_b,16,When did you see the flag?,10:46:32,time,,[minutes] ago,\n'
        '16_LONG_c,16,How long did you wait?,"10:45:00, 10:46:30",duration,I waited,1.5,\n'
        '16_LONG_d,16,What color was the truck?,10:40:00,text,The truck was red,,\n'
        '16_LONG_e,16,Where is the trash can?,10:45:00,position,,[position],spatial\n')


def written(folder, value, name='questions.json'):
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def navqa(folder, rows=ROWS):
    (folder / '16').mkdir(exist_ok=True)
    clips = [{'id': row.split(',')[0], 'length_category': row.split('_')[1], 'length': 300.0,
              'start_time': START, 'end_time': START + 300,
              'file_info': {'qa_start_filename': 'a.pkl', 'qa_end_filename': 'b.pkl'}}
             for row in ROWS.splitlines()]
    written(folder / '16', {'version': 0.1, 'data': clips}, 'qa_unfilled.json')
    return written(folder, HEADER + rows, 'data.csv')


def only(videos):
    [video] = videos
    [question] = video.questions
    return video, question


# -- forms ------------------------------------------------------------------------------------


def test_mlvu_own_form_takes_the_folder_from_the_file_s_name(tmp_path):
    video, question = only(load('mlvu', written(tmp_path, [MLVU], '1_plotQA.json')))
    assert video.video == '1_plotQA/movie_1.mp4'
    assert (question.answer, question.kind, question.suite) == ('C', 'plotQA', 'mlvu')
    assert question.question.endswith(
        'Question: What color is his hat?\nOptions:\n(A) Yellow\n(B) Red\n(C) Green\n(D) Blue\n'
        'Only give the best option.')
    assert question.ask_at_ns is None


def test_mlvu_own_open_questions_and_a_whole_folder(tmp_path):
    summary = {'video': '217.mp4', 'duration': 480.0, 'question': 'Please summarize this video.',
               'answer': 'Whales are filmed.', 'question_type': 'summary'}
    scene = {**summary, 'question_type': 'subPlot', 'scoring_points': ['Whales', 'A film']}
    written(tmp_path, [MLVU], '1_plotQA.json')
    written(tmp_path, [scene], '8_sub_scene.json')
    written(tmp_path, [summary], '9_summary.json')
    videos = load('mlvu', tmp_path)
    assert [video.video for video in videos] == [
        '1_plotQA/movie_1.mp4', '8_sub_scene/217.mp4', '9_summary/217.mp4']
    asked = [question for video in videos for question in video.questions]
    assert [question.scorer for question in asked] == ['letter', 'f1', 'f1']
    assert {question.suite for question in asked[1:]} == {'mlvu generation'}


def test_mlvu_rekv_form_asks_several_about_one_video(tmp_path):
    [video] = load('mlvu', written(tmp_path, [REKV]))
    assert video.video == '1_plotQA/movie_1.mp4'
    assert [question.answer for question in video.questions] == ['B', 'A']
    assert len({question.id for question in video.questions}) == 2


def test_mlvu_mends_the_known_slip_and_takes_an_option_listed_twice(tmp_path):
    slip = {**MLVU, 'candidates': ['Fishing', 'Catching the drone'],
            'answer': 'Catching a flying drone quadcopter'}
    assert only(load('mlvu', written(tmp_path, [slip])))[1].answer == 'B'
    twice = {**MLVU, 'candidates': ['Six', 'Three', 'Three'], 'answer': 'Three'}
    question = only(load('mlvu', written(tmp_path, [twice])))[1]
    assert [score(question, answer) for answer in ('A', 'B', '(C)', 'three')] == [0, 1, 1, 1]


def test_mlvu_takes_a_blank_option_that_is_right_but_no_blank_open_answer(tmp_path):
    blank = {**MLVU, 'candidates': ['In the garage', '', 'On the shelf'], 'answer': ''}
    question = only(load('mlvu', written(tmp_path, [blank])))[1]
    assert question.answer == 'B' and score(question, '(B)') == 1
    openly = {key: value for key, value in blank.items() if key != 'candidates'}
    with pytest.raises(SourceError, match='of an open question is blank'):
        load('mlvu', written(tmp_path, [openly]))


def test_videomme_own_form_names_the_video_by_its_web_id(tmp_path):
    video, question = only(load('videomme', written(tmp_path, [MME])))
    assert (video.video, question.suite, question.answer) == ('abc', 'videomme short', 'C')
    assert question.options == ['A saw.', 'A plane.', 'A file.', 'None.']
    assert question.question.endswith(
        'Which tool comes last?\nA. A saw.\nB. A plane.\nC. A file.\nD. None.\n'
        'The best answer is:')


def test_egoschema_own_form_leaves_out_what_has_no_public_answer(tmp_path):
    written(tmp_path, {'uid-1': 3}, 'subset_answers.json')
    video, question = only(load('egoschema', written(
        tmp_path, [{**EGO, 'q_uid': 'uid-0'}, EGO])))
    assert (video.video, question.answer, question.options[3]) == ('uid-1', 'D', 'C runs.')
    written(tmp_path, {'another': 3}, 'subset_answers.json')
    with pytest.raises(SourceError, match='answers none of its questions'):
        load('egoschema', tmp_path / 'questions.json')


def test_lvb_has_a_suite_a_length(tmp_path):
    video, question = only(load('lvb', written(tmp_path, [LVB])))
    assert (video.video, question.suite, question.kind) == ('v.mp4', 'lvb 600 s', 'T2O')
    assert question.question == (
        'At the beginning, who talks?\nA. a man\nB. a dog\nC. nobody\n'
        "Answer with the option's letter from the given choices directly.")
    assert question.answer == 'A'


def test_rvs_shows_the_clip_and_asks_when_the_part_ends(tmp_path):
    video, question = only(load('rvs', written(tmp_path, [RVS])))
    assert (video.start_ns, video.end_ns) == (600 * SECOND_NS, 4200 * SECOND_NS)
    assert question.ask_at_ns == round(650.5 * SECOND_NS)
    assert question.evidence == [(610 * SECOND_NS, round(650.5 * SECOND_NS))]
    assert (question.scorer, question.kind, question.suite) == ('f1', 'who', '')
    whole = {key: value for key, value in RVS.items() if not key.startswith('clip')}
    assert only(load('rvs', written(tmp_path, [whole])))[0].end_ns is None
    early = {**RVS, 'clip_start_time': 700.0}
    with pytest.raises(SourceError, match=r'entry 1 \(m\).*before the clip starts'):
        load('rvs', written(tmp_path, [early]))


def test_river_counts_the_delay_from_the_evidence(tmp_path):
    later = {**RIVER, 'question_type': 'Retro-Memory@very_long', 'question_time': 3540.5}
    now = {**RIVER, 'question_type': 'Live-Perception', 'question_time': 543.5}
    [video] = load('river', written(tmp_path, [RIVER, later, now]))
    assert [(each.suite, each.delay) for each in video.questions] == [
        ('river Retro-Memory@short', 28 * 25), ('river Retro-Memory@very_long', 2997 * 25),
        ('river Live-Perception', 0)]
    assert [each.ask_at_ns for each in video.questions] == [
        round(seconds * SECOND_NS) for seconds in (571.5, 3540.5, 543.5)]
    assert video.questions[0].evidence == [(round(534.5 * SECOND_NS), round(543.5 * SECOND_NS))]
    assert (video.questions[0].answer, video.questions[0].options[1]) == ('B', 'White')


def test_river_refuses_what_cannot_be_asked(tmp_path):
    unasked = {**RIVER, 'question_type': 'Pro-Response-Instant@short', 'time_reference': 580.0}
    with pytest.raises(SourceError, match=r'Retro-Memory\.json'):
        load('river', written(tmp_path, [unasked]))
    with pytest.raises(SourceError, match='before its evidence ends'):
        load('river', written(tmp_path, [{**RIVER, 'question_time': 540.0}]))
    # Only the end of such an interval is known to be true.
    turned = {**RIVER, 'time_reference': [565.0, 543.5]}
    question = only(load('river', written(tmp_path, [turned])))[1]
    assert (question.evidence, question.delay) == ([], 700)


def test_navqa_shows_a_part_of_the_sequence_and_makes_the_answers(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        videos = load('navqa', navqa(tmp_path))
    assert '1 questions for a position are left out' in caplog.text
    assert {video.video for video in videos} == {'16'}
    by_kind = {question.kind: question for video in videos for question in video.questions}
    assert set(by_kind) == {'binary', 'time', 'duration', 'text'}
    start = round(START * SECOND_NS)
    for video in videos:
        assert (video.start_ns, video.end_ns) == (start, start + 300 * SECOND_NS)
    seen = start + round(27.5 * SECOND_NS)  # 10:45:00
    binary = by_kind['binary']
    assert (binary.clock, binary.ask_at_ns) == ('stamp', start + 300 * SECOND_NS)
    assert binary.evidence == [(seen - 3 * SECOND_NS, seen + 3 * SECOND_NS)]
    assert binary.suite == 'navqa short' and by_kind['time'].suite == 'navqa long'
    assert binary.question.startswith(
        'You started moving at 2023-02-08 10:44:32. The current time is 2023-02-08 10:49:32.\n'
        'Did you see a van, today?\n')
    # Seen at 10:46:32, asked at 10:49:32.5.
    assert by_kind['time'].answer == '3.01 minutes'
    assert score(by_kind['time'], 'About 2 minutes ago') == 1.0
    assert score(by_kind['time'], 'About 10 minutes ago') == 0.0
    assert by_kind['duration'].answer == '1.5 minutes'
    assert by_kind['duration'].evidence == [(seen, seen + 90 * SECOND_NS)]
    # Outside what is shown: the evidence is unknown.
    assert by_kind['text'].evidence == ()
    assert load('navqa', tmp_path)[0].questions[0].id == '16_SHORT_a'


@pytest.mark.parametrize(('rows', 'message'), [
    ('16_LONG_x,16,Which?,10:45:00,text,It is red,,\n', 'has no entry of that id'),
    ('16_LONG_b,16,Which?,10:45:00,color,It is red,,\n', 'Type'),
    ('16_LONG_b,16,Which?,a quarter to,text,It is red,,\n', 'is not a time'),
    ('16_LONG_b,16,Which?,10:45:00,binary,,perhaps,\n', 'neither yes nor no'),
    ('16_LONG_b,16,Which?\n', 'not as many fields'),
    ('16_LONG_b,17,Which?,10:45:00,text,It is red,,\n', 'qa_unfilled.json cannot be read'),
])
def test_navqa_names_the_entry_that_is_wrong(tmp_path, rows, message):
    with pytest.raises(SourceError, match=message):
        load('navqa', navqa(tmp_path, rows))


# -- bad files --------------------------------------------------------------------------------


@pytest.mark.parametrize('name', FORMATS)
@pytest.mark.parametrize(('text', 'message'), [
    (None, 'cannot be read: No such file'), ('', 'is empty'), (' \n', 'is empty'),
])
def test_a_file_that_is_missing_or_empty_is_named(tmp_path, name, text, message):
    path = tmp_path / 'none.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(SourceError, match=rf'none\.json.*{message}'):
        load(name, path)


@pytest.mark.parametrize('name', [name for name in FORMATS if name != 'navqa'])
@pytest.mark.parametrize('text', [
    '[{', '{}', '[]', '[1]', '[[[]]]', '[{}]', '[{"id": 1, "unheard": 2}]', 'NaN', '\x00',
    '[' * 100_000,
])
def test_a_file_of_something_else_is_refused(tmp_path, name, text):
    with pytest.raises(SourceError, match=r'none\.json'):
        load(name, written(tmp_path, text, 'none.json'))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / 'none.json'
    path.write_bytes(b'[\xff\xfe]')
    with pytest.raises(SourceError, match='not UTF-8'):
        load('openeqa', path)


@pytest.mark.parametrize(('name', 'entry'), [
    ('mlvu', MLVU), ('mlvu', REKV), ('videomme', MME), ('egoschema', EGO), ('lvb', LVB),
    ('rvs', RVS), ('river', RIVER),
])
def test_unknown_missing_and_mistyped_fields_are_named_with_their_entry(tmp_path, name, entry):
    written(tmp_path, {'uid-1': 3}, 'subset_answers.json')

    def refused(second, message):
        with pytest.raises(SourceError, match=f'entry 2.*{message}'):
            load(name, written(tmp_path, [entry, second]))

    refused({**entry, 'unheard': 1}, 'unheard: an unknown field')
    last = 'conversations' if 'conversations' in entry else 'question'
    refused({key: value for key, value in entry.items() if key != last}, f'{last}: missing')
    refused({**entry, last: 7}, f'{last}: input should be')


def test_a_right_answer_that_is_no_option_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r'entry 1 \(v_0\).*option 3, there are 0 to 2'):
        load('lvb', written(tmp_path, [{**LVB, 'correct_choice': 3}]))
    with pytest.raises(SourceError, match=r"the right answer is 'E', the options are A to D"):
        load('videomme', written(tmp_path, [{**MME, 'answer': 'E'}]))
    with pytest.raises(SourceError, match="reads like the right answer, 'Purple'"):
        load('mlvu', written(tmp_path, [{**MLVU, 'answer': 'Purple'}]))


def test_two_questions_of_one_id_are_refused(tmp_path):
    with pytest.raises(SourceError, match="two questions have the id 'v_0'"):
        load('lvb', written(tmp_path, [LVB, LVB]))


def test_a_blank_question_or_answer_is_refused(tmp_path):
    entry = {'question': 'Which?', 'answer': 'x', 'category': 'c', 'question_id': 'q',
             'episode_history': 'e', 'extra_answers': ['y']}
    assert only(load('openeqa', written(tmp_path, [entry])))[1].accepted == ('y',)
    for field in ('question', 'answer'):
        with pytest.raises(SourceError, match=rf'entry 1 \(q\): {field}: .* or blank'):
            load('openeqa', written(tmp_path, [{**entry, field: ' \n'}]))


def test_a_streamingbench_task_that_needs_sound_is_refused(tmp_path):
    asked = {'task_type': 'Emotion Recognition', 'question': 'How does it sound?',
             'time_stamp': '00:00:06', 'answer': 'B', 'options': ['A. Good', 'B. Bad']}
    with pytest.raises(SourceError, match='entry 1: task_type'):
        load('streamingbench', written(
            tmp_path, [{'video_path': './videos/v.mp4', 'questions': [asked]}]))


def test_an_ovobench_task_nobody_knows_is_refused(tmp_path):
    entry = {'id': 5, 'task': 'XYZ', 'video': 'v.mp4'}
    with pytest.raises(SourceError, match=r"entry 1 \(5\): .*'XYZ'.* does not match any"):
        load('ovobench', written(tmp_path, [entry]))


def test_a_format_nobody_knows_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match='mlvu, videomme, egoschema'):
        load('kinetics', tmp_path)
    assert len(FORMATS) == 10


# -- times ------------------------------------------------------------------------------------


@pytest.mark.parametrize(('time', 'seconds'), [
    ('0:00:06', 6), ('00:02:37', 157), ('1:00:00', 3600), ('24', 24), ('00:24', 24),
    ('00:05:4', 304), ('90', 90), ('90:00', 5400), ('1:02.5', 62.5), (88.43, 88.43),
    (215, 215), (0, 0),
])
def test_times_are_read_as_annotators_write_them(time, seconds):
    assert parse_time(time, 'here') == round(seconds * SECOND_NS)


@pytest.mark.parametrize('time', [
    '', 'noon', '-3', '1:60', '00:12450', '1:2:3:4', '1.5:00', -1, float('nan'), float('inf')])
def test_what_is_no_time_is_refused(time):
    with pytest.raises(SourceError, match=r'here: .* is not a time'):
        parse_time(time, 'here')
