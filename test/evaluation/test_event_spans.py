# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Standing questions about recordings: spans of answers, runs that go on, files of events."""

from __future__ import annotations

import base64
import json
from itertools import groupby

import pytest
from recording_files import SECOND, START, camera, header, image, write_bag
from rosbags.typesys import Stores, get_typestore
from typer.testing import CliRunner

from infinipot_ros.cli.main import app
from infinipot_ros.errors import ConfigurationError
from infinipot_ros.evaluation.event_files import TOPIC
from infinipot_ros.evaluation.event_spans import EventWatch, read_watch
from infinipot_ros.evaluation.run_store import RUNS
from infinipot_ros.recordings.bag_reader import BagReader
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.visual_memory.memory_config import MemoryConfig
from infinipot_ros.visual_memory.visual_memory import VisualMemory

QUESTION = 'What is there?'
SETTINGS = {'max_pixels': 3136, 'budget': 64, 'block_size': 2, 'max_new_tokens': 2}


def find(model, *arguments):
    options = [f'--{name.replace("_", "-")}={value}' for name, value in SETTINGS.items()]
    return CliRunner().invoke(
        app, ['events', *map(str, arguments), *options, '--fps=0', '--every=0.5', '--workers=1',
              f'--model={model}'], prog_name='infinipot')


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def looped(count=20):
    """A bag that was played twice: its stamps begin again."""
    first = camera(count)
    again = [(when + 100 * SECOND, image(START + index * SECOND // 10, 9 - index % 10))
             for index, (when, _) in enumerate(first)]
    return first + again


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bags')
    return [write_bag(folder / name, {'/cam': messages}) for name, messages in (
        ('one', camera(40)), ('two', looped()), ('three', camera(25, period=SECOND // 2)))]


def asked(model, bag):
    """Ask a memory of its own every half second and at the end: stamps and answers, by loop."""
    memory = VisualMemory(MemoryConfig(str(model), max_evidence=0, **SETTINGS))
    answers, before = [[]], None
    frames = list(open_source(bag))
    for index, frame in enumerate(frames):
        memory.add_frame(frame.rgb, frame.stamp_ns, frame.camera)
        if before is not None and frame.stamp_ns < before:
            answers.append([])
        late = before is None or not 0 <= frame.stamp_ns - before < SECOND // 2
        if late or index == len(frames) - 1:
            before = frame.stamp_ns
            answers[-1].append((before, memory.ask(QUESTION).text))
    return answers


def spans(answers, wanted):
    found = []
    for part in answers:
        for text, group in groupby(part, key=lambda each: each[1]):
            stamps = [stamp_ns for stamp_ns, _ in group]
            if wanted in ('', text):
                found.append((stamps[0], stamps[-1], text))
    return sorted(found)


def test_events_are_the_spans_of_answers(model, bags, tmp_path):
    expected = {bag.name: asked(model, bag) for bag in bags}
    texts = [text for parts in expected.values() for part in parts for _, text in part]
    assert len(set(texts)) > 1
    for number, value in enumerate(['', max(set(texts), key=texts.count)]):
        out = tmp_path / f'{number}.jsonl'
        watch = f'{QUESTION}={value}' if value else QUESTION
        result = find(model, *bags, '--watch', watch, '--out', out)
        assert result.exit_code == 0, result.output
        found = rows(out)
        for name, answers in expected.items():
            assert [(each['start_ns'], each['end_ns'], each['answer']) for each in found
                    if each['recording'] == name] == spans(answers, value)
        for each in found:
            assert (each['question'], each['value']) == (QUESTION, value)
            assert 0 < each['confidence'] <= 1
            (moment,) = each['evidence']
            assert each['recording'] == 'two' or moment['stamp_ns'] <= each['start_ns']
            assert moment['camera'] == header(0).frame_id
            assert base64.b64decode(moment['thumbnail']).startswith(b'\xff\xd8')


def test_a_run_goes_on_and_one_that_is_finished_watches_nothing(model, bags, tmp_path):
    out, given = tmp_path / 'events.jsonl', ('--watch', QUESTION, '--out')
    assert find(model, *bags[:2], *given, out).exit_code == 0
    finished = (tmp_path / 'events.jsonl.run' / RUNS).read_text()
    out.unlink()
    result = find(model, *bags, *given, out)
    assert result.exit_code == 0, result.output
    assert '3 recordings, 2 of them watched before' in result.stdout
    assert (tmp_path / 'events.jsonl.run' / RUNS).read_text().startswith(finished)
    whole = out.read_text()
    again = find(model, *bags, *given, out)
    assert '3 of them watched before' in again.stdout
    assert out.read_text() == whole
    # The same, each third by a run of its own.
    parts = []
    for share in range(1, 4):
        part = tmp_path / f'{share}.jsonl'
        assert find(model, *bags, *given, part, '--shard', f'{share}/3').exit_code == 0
        parts += rows(part)
    assert sorted(parts, key=str) == sorted(rows(out), key=str)
    refused = find(model, *bags, '--watch', 'What else?', '--out', out)
    assert refused.exit_code == 2
    assert 'another configuration' in refused.stderr
    assert 'give another --out, or --fresh' in refused.stderr
    assert out.read_text() == whole


def test_a_recording_that_cannot_be_watched_costs_no_other_one(model, bags, tmp_path):
    bad = write_bag(tmp_path / 'bad', {'/cam': [(START, image(START, encoding='32FC1'))]})
    out = tmp_path / 'events.jsonl'
    result = find(model, bad, bags[0], '--watch', QUESTION, '--out', out)
    assert result.exit_code == 2
    assert 'bad: ' in result.stderr and 'frame' in result.stderr
    assert {each['recording'] for each in rows(out)} == {'one'}


def test_events_in_a_bag_are_those_of_the_lines(model, bags, tmp_path):
    for end in ('jsonl', 'mcap'):
        result = find(model, *bags, '--watch', QUESTION, '--out', tmp_path / f'events.{end}')
        assert result.exit_code == 0, result.output
    store = get_typestore(Stores.ROS2_HUMBLE)
    with BagReader(tmp_path / 'events.mcap') as reader:
        found = [(when, json.loads(store.deserialize_cdr(data, 'std_msgs/msg/String').data))
                 for _, when, data in reader.messages([TOPIC])]
    assert [when for when, _ in found] == sorted(each['start_ns'] for _, each in found)
    lines = rows(tmp_path / 'events.jsonl')
    assert sorted((each for _, each in found), key=str) == sorted(lines, key=str)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'events.jsonl', 'events.jsonl.run', 'events.mcap', 'events.mcap.run']


@pytest.mark.parametrize(('text', 'match', 'watch'), [
    ('Is it?=yes', '', EventWatch('Is it?', 'yes')),
    (' Is it? ', '', EventWatch('Is it?')),
    ('Is 1 = 2?=no', 'leading', EventWatch('Is 1 = 2?', 'no', 'leading')),
    ('', '', None), ('=yes', '', None), ('Is it?=', '', None), ('Is it?', 'exact', None),
    ('Is it?=yes', 'somehow', None),
])
def test_a_watch_is_a_question_and_perhaps_a_value(text, match, watch):
    if watch is None:
        with pytest.raises(ConfigurationError, match='--'):
            read_watch(text, match)
    else:
        assert read_watch(text, match) == watch


@pytest.mark.parametrize(('arguments', 'reason'), [
    (('--out', 'events.csv'), 'ends in .jsonl or .mcap'),
    (('--shard', '0/2'), 'give I/N'), (('--shard', '3/2'), 'give I/N'),
    (('--shard', 'all'), 'give I/N'), (('nowhere.mcap',), 'nowhere.mcap does not exist'),
    (('--ray', '127.0.0.1:1', '--workers', '2'), 'exclude each other'),
])
def test_what_cannot_work_is_refused_before_anything_is_watched(model, bags, arguments, reason):
    result = CliRunner().invoke(app, [
        'events', str(bags[0]), '--watch', QUESTION, '--model', str(model), *arguments])
    assert result.exit_code == 2
    assert reason in result.stderr
