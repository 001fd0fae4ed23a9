# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Our own question files: what they may say, and what is said when they say anything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.question_files import find_questions, read_questions
from infinipot_ros.evaluation.scoring import score
from infinipot_ros.evaluation.time_parsing import parse_moment
from tools.tiny_model.bag import AskedQuestion, TourQuestion, write_questions
from tools.tiny_model.bag import read_questions as read_back

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000_000
LINE = {'id': 'q1', 'ask_at': 5 * SECOND, 'question': 'What?', 'answer': 'that'}
# 2026-11-21T10:00:30Z
NOON_NS = 1_795_255_230 * SECOND


def jsonl(folder, *lines):
    path = folder / 'questions.jsonl'
    path.write_text(''.join(
        (line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines))
    return path


def yaml(folder, text):
    path = folder / 'questions.yaml'
    path.write_text(text)
    return path


# JSON Lines -------------------------------------------------------------------------------------


def test_the_demo_questions_are_read():
    questions = read_questions(ROOT / 'demo' / 'questions.jsonl')
    assert len(questions) == 6
    first = questions[0]
    assert (first.id, first.question, first.answer, first.kind, first.delay) == (
        'q1', 'What colour is the box?', 'red', 'colour', 94)
    assert first.ask_at_ns == 1_700_026_101_500_000_000
    assert first.evidence[0] == [1_700_026_020_000_000_000, 1_700_026_026_000_000_000]
    assert (first.clock, first.scorer, first.tokens) == ('stamp', 'exact', None)


def test_what_a_suite_writes_comes_back(tmp_path):
    tokens = np.array([[0, 1, 2], [3, 0, 5]])
    asked = [
        AskedQuestion('a', 5, 'Which?', 'one', 'colour', [[1, 2]], 3, tokens=tokens),
        AskedQuestion('b', 6, 'Where?', '1 2', 'where', [], 0, [1.0, 2.0])]
    write_questions(tmp_path / 'questions.jsonl', asked, 'spin')
    one, other = read_questions(tmp_path / 'questions.jsonl')
    assert (one.suite, other.suite) == ('spin', 'spin')
    assert np.array_equal(one.tokens, tokens)
    assert other.tokens.shape == (0, 3)
    assert read_back(tmp_path / 'questions.jsonl') == [
        TourQuestion('a', 5, 'Which?', 'one', 'colour', [[1, 2]], 3),
        TourQuestion('b', 6, 'Where?', '1 2', 'where', [], 0, [1.0, 2.0])]


def test_a_line_needs_little_and_may_say_more(tmp_path):
    [bare] = read_questions(jsonl(tmp_path, LINE, ''))
    assert (bare.kind, bare.delay, list(bare.evidence), bare.suite) == ('question', None, [], '')
    [rich] = read_questions(jsonl(tmp_path, LINE | {
        'ask_at': None, 'accepted': ['this'], 'scorer': 'f1', 'options': ['a', 'b']}))
    assert rich.ask_at_ns is None
    assert score(rich, 'this') == 1.0


@pytest.mark.parametrize(('line', 'reason'), [
    ('{"id": ', r'questions.jsonl, line 2 is not JSON'),
    ('[1]', r'line 2: a JSON object is expected'),
    (LINE | {'id': 'q2', 'colour': 'red'}, r'entry 2 \(q2\): colour: an unknown field'),
    ({'id': 'q2', 'question': 'What?'}, r'entry 2 \(q2\): answer: missing'),
    (LINE | {'id': 'q2', 'ask_at': 1.5}, r'entry 2 \(q2\): ask_at: .*integer'),
    (LINE | {'id': 'q2', 'ask_at': 'soon'}, r'entry 2 \(q2\): ask_at: .*integer'),
    (LINE | {'id': 'q2', 'evidence': [[1, 2, 3]]}, r'\(q2\): evidence\.0: .*at most 2'),
    (LINE | {'id': 'q2', 'evidence': [[3, 2]]}, r'\(q2\): evidence\.0: \[3, 2\] ends before'),
    (LINE | {'id': 'q2', 'ask_at': 5, 'evidence': [[6, 7], [8, 9]]}, r'\(q2\): all of its evid'),
    (LINE | {'id': 'q2', 'evidence_tokens': [[1, 2]]}, r'\(q2\): evidence_tokens\.0\.2: missing'),
    (LINE | {'id': 'q2', 'scorer': 'magic'}, r"\(q2\): scorer: there is no scorer 'magic'"),
    (LINE | {'id': 'q2', 'question': ' '}, r'\(q2\): question: .*blank'),
    (LINE, r"two questions have the same id 'q1'"),
])
def test_a_bad_line_is_named(tmp_path, line, reason):
    with pytest.raises(SourceError, match=reason) as caught:
        read_questions(jsonl(tmp_path, LINE, line))
    assert str(tmp_path / 'questions.jsonl') in str(caught.value)


@pytest.mark.parametrize(('name', 'content', 'reason'), [
    ('questions.jsonl', b'\n', 'is empty'), ('questions.jsonl', b'\xff\xfe\x01', 'not UTF-8'),
    ('questions.txt', b'x', 'ends in .jsonl, .yaml'), ('questions.yaml', b'a: [', 'valid YAML'),
    ('questions.yaml', b'- 1', 'a list named questions'),
    ('questions.yaml', b'questions: []', 'holds no question'),
])
def test_a_file_that_holds_no_questions_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        read_questions(tmp_path / name)
    with pytest.raises(SourceError, match='cannot be read'):
        read_questions(tmp_path / 'nothing.jsonl')


# YAML -------------------------------------------------------------------------------------------


def test_yaml_says_it_in_a_persons_words(tmp_path):
    path = yaml(tmp_path, """
questions:
  - ask: Is the door open?
    at: 1:30
    answer: yes
    evidence: 0:40 - 0:55
    kind: state
  - ask: What is on the table?
    at: 01:02:03.5
    answer: [mug, a mug]
    evidence: [0:05, 10 - 12.25, [1:00, 2:00]]
    id: table
  - ask: Which colour is it?
    answer: red
    choices: [green, red]
  - ask: How does it look?
    at: end
    answer: quite red
    scorer: f1
""")
    door, table, colour, look = read_questions(path)
    assert (door.id, door.ask_at_ns, door.answer, door.kind) == ('q1', 90 * SECOND, 'yes', 'state')
    assert (door.clock, door.evidence) == ('start', [[40 * SECOND, 55 * SECOND]])
    assert (table.id, table.ask_at_ns) == ('table', 3_723_500_000_000)
    assert table.evidence == [
        [5 * SECOND, 5 * SECOND], [10 * SECOND, 12_250_000_000], [60 * SECOND, 120 * SECOND]]
    assert score(table, 'A mug.') == 1.0
    assert colour.question == (
        'Which colour is it?\nA. green\nB. red\nAnswer with the letter of the right choice.')
    assert (colour.answer, colour.scorer, colour.ask_at_ns) == ('B', 'letter', None)
    assert [score(colour, said) for said in ('B', 'red', 'A')] == [1.0, 1.0, 0.0]
    assert (look.ask_at_ns, look.scorer) == (None, 'f1')


def test_yaml_takes_dates(tmp_path):
    [question] = read_questions(yaml(tmp_path, """
questions:
  - ask: What happened?
    at: 2026-11-21T10:00:30Z
    answer: nothing
    evidence: 2026-11-21T11:00:00.5+01:00 to 2026-11-21T10:00:10+00:00
"""))
    assert (question.clock, question.ask_at_ns) == ('stamp', NOON_NS)
    assert question.evidence == [[NOON_NS - 29_500_000_000, NOON_NS - 20 * SECOND]]


@pytest.mark.parametrize(('entry', 'reason'), [
    ('ask: What?', r'entry 2, line 5|entry 2: answer: missing'),
    ('{ask: What is it, answer: x, colour: red}', 'colour: an unknown field .*line 5'),
    ('{ask: What is it, answer: x, at: soon}', r"line 5: 'soon' is not a time"),
    ('{ask: What is it, answer: x, at: 1:75}', r"line 5: '1:75' is not a time"),
    ('{ask: What is it, answer: x, at: -3}', r"line 5: '-3' is not a time"),
    ('{ask: What is it, answer: x, at: 2026-11-21T10:00:30}', 'has no time zone'),
    ('{ask: What is it, answer: x, at: 2026-13-21T10:00:30Z}', 'is not an ISO date'),
    ('{ask: What is it, answer: x, at: 5, evidence: "2026-11-21T10:00:30Z"}',
     'some times are dates'),
    ('{ask: What is it, answer: x, evidence: 0:20 - 0:10}', 'ends before it starts'),
    ('{ask: What is it, answer: x, evidence: [[1, 2, 3]]}', 'is not an interval'),
    ('{ask: What is it, answer: x, at: 1:00, evidence: 2:00 - 3:00}', 'comes after it is asked'),
    ('{ask: What is it, answer: ""}', r'answer\.0: .*blank.*line 5'),
    ('{ask: What is it, answer: []}', 'answer: list should have at least 1 item'),
    ('{ask: "", answer: x}', 'ask: .*blank'),
    ('{ask: What is it, answer: blue, choices: [green, red]}', "right answer is 'blue'"),
    ('{ask: What is it, answer: red, choices: [red]}', 'two or more'),
    ('{ask: What is it, answer: x, scorer: magic}', "no scorer 'magic'"),
    ('{ask: What is it, answer: x, answer: y}', "line 5: 'answer' is given twice"),
    ('{ask: What is it, answer: x, id: q1}', "same id 'q1'"),
])
def test_a_bad_entry_is_named(tmp_path, entry, reason):
    path = yaml(tmp_path, f"""questions:
  - ask: What?
    answer: that

  - {entry}
""")
    with pytest.raises(SourceError, match=reason) as caught:
        read_questions(path)
    assert str(path) in str(caught.value)


def test_an_unknown_key_of_the_whole_is_refused(tmp_path):
    with pytest.raises(SourceError, match='author: an unknown field'):
        read_questions(yaml(tmp_path, 'author: me\nquestions: [{ask: a, answer: b}]'))


@pytest.mark.parametrize(('text', 'ns'), [
    ('0', 0), ('7s', 7 * SECOND), ('0.000000001', 1), ('59:59.999', 3_599_999_000_000),
    ('99:00', 5940 * SECOND)])
def test_moments_count_from_the_start(text, ns):
    assert parse_moment(text, 'here') == ('start', ns)


# Where they lie ---------------------------------------------------------------------------------


def test_questions_are_found_in_and_beside_a_recording(tmp_path):
    bag = tmp_path / 'day' / 'bag'
    bag.mkdir(parents=True)
    video = tmp_path / 'day' / 'walk.mp4'
    assert find_questions(bag) is None
    (tmp_path / 'day' / 'questions.yml').touch()
    assert find_questions(bag) == find_questions(video) == tmp_path / 'day' / 'questions.yml'
    (tmp_path / 'day' / 'walk.yaml').touch()
    (tmp_path / 'day' / 'bag.jsonl').touch()
    assert find_questions(video) == tmp_path / 'day' / 'walk.yaml'
    assert find_questions(bag) == tmp_path / 'day' / 'bag.jsonl'
    (bag / 'questions.jsonl').touch()
    assert find_questions(bag) == bag / 'questions.jsonl'


def test_yaml_of_nothing_but_a_comment_is_refused(tmp_path):
    path = tmp_path / 'walk.yaml'
    path.write_text('# to be written\n')
    with pytest.raises(SourceError, match=r'walk.yaml: a list named questions is expected'):
        read_questions(path)


def test_yaml_of_aliases_of_aliases_is_refused(tmp_path):
    # Forty doublings: expanding each one would never end.
    lines = ['a0: &a0 [x]', *(f'a{n}: &a{n} [*a{n - 1}, *a{n - 1}]' for n in range(1, 41))]
    path = tmp_path / 'walk.yaml'
    path.write_text('\n'.join(lines))
    with pytest.raises(SourceError, match='aliases of aliases expand to more than 1,000,000'):
        read_questions(path)
