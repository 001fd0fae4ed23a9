# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings as streams: bags, videos and folders, walked through again and again."""

from __future__ import annotations

import hashlib
import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image as PilImage
from recording_files import SECOND, START, camera, compressed, shade, write_bag, write_video
from rosbags.rosbag2 import StoragePlugin

from infinipot_ros.errors import SourceError
from infinipot_ros.evaluation.provenance import described
from infinipot_ros.evaluation.question import Question
from infinipot_ros.evaluation.recorded_stream import (
    RecordedStream,
    Recording,
    file_name,
    picture_path,
)
from infinipot_ros.evaluation.stream import END_NS, QualityStream

TENTH = SECOND // 10


def ask(name='q', at_ns=None, clock='stamp', evidence=()):
    return Question(
        name, 'What is it?', 'grey', 'colour', ask_at_ns=at_ns, clock=clock, evidence=evidence)


def record(path, *questions, **options):
    return RecordedStream(Recording('it', 'sort', 0, path, questions, **options))


def shown(stream):
    return [(frame.stamp_ns, int(frame.rgb[4, 6, 0])) for frame in stream]


def test_a_bag_of_which_no_frame_can_be_read_names_the_reason(tmp_path):
    images = camera(10)
    for _, message in images:
        message.encoding = 'nv16'
    stream = record(write_bag(tmp_path / 'bag', {'/cam': images}), ask())
    with pytest.raises(SourceError, match=r"not one of 10 frames .*: encoding 'nv16' is not"):
        stream.survey()


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('make', [None, compressed])
def test_a_bag_is_walked_through_again_and_again(tmp_path, plugin, make):
    images = camera(10) if make is None else camera(10, make=make)
    stream = record(write_bag(tmp_path / 'bag', {'/cam': images}, plugin=plugin))
    expected = [(START + i * TENTH, shade(i)) for i in range(10)]
    assert shown(stream) == shown(stream) == expected
    survey = stream.survey()
    assert (survey.frames, survey.first_ns, survey.last_ns) == (
        10, START, START + 9 * TENTH)
    assert survey.origin_ns == START
    [stretch] = survey.segments.found
    assert (stretch.height, stretch.width, stretch.camera) == (8, 12, 'camera')
    assert stretch.grids(2) == 5
    walk = iter(stream)
    next(walk)
    assert shown(stream) == expected


def test_a_recording_is_what_its_frames_are(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(6)})
    frames = list(record(bag))
    memory = QualityStream(
        'other', 'sort', 1, [frame.rgb for frame in frames],
        [frame.stamp_ns for frame in frames], [])
    assert memory.survey().digest == record(bag).survey().digest
    assert memory.survey().digest != record(bag, fps=5).survey().digest


def test_topics_are_streams_of_their_own(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/left': camera(4), '/right': camera(6, make=compressed)})
    assert len(shown(record(bag, topic='/left'))) == 4
    assert len(shown(record(bag, topic='right'))) == 6
    with pytest.raises(SourceError, match=r'/up does not exist; image topics: /left .*, /right'):
        record(bag, topic='/up')


def test_a_video_of_variable_rate_keeps_its_times(tmp_path):
    times = [0, 40, 80, 1000, 1040, 3000, 3500]
    video = write_video(tmp_path / 'video.mp4', times)
    stream = record(
        video, ask('early', 90_000_000, 'start'), ask('late', 3_200_000_000, 'start'), ask('end'))
    assert [frame.stamp_ns for frame in stream] == [
        SECOND + time * 1_000_000 for time in times]
    asked, left_out = stream.schedule()
    assert [(each.question.id, each.at_ns) for each in asked] == [
        ('early', 1_090_000_000), ('late', 4_200_000_000), ('end', END_NS)]
    assert not left_out


def test_parts_and_most_frames(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(40)})
    part = record(bag, ask('q', 2 * SECOND, 'start'), start_ns=SECOND, end_ns=2 * SECOND)
    assert [stamp for stamp, _ in shown(part)] == [START + i * TENTH for i in range(10, 21)]
    # Times count from the recording's start, not from that of the part.
    assert part.survey().origin_ns == START
    assert part.schedule()[0][0].at_ns == START + 2 * SECOND
    stamped = record(bag, start_ns=START + SECOND, end_ns=START + 2 * SECOND, clock='stamp')
    assert shown(stamped) == shown(part)
    thin = record(bag, max_frames=10)
    stamps = [stamp for stamp, _ in shown(thin)]
    assert len(stamps) in (9, 10)
    gaps = {later - sooner for sooner, later in pairwise(stamps)}
    assert max(gaps) - min(gaps) <= TENTH
    assert max(stamps) > START + 3 * SECOND
    assert 30 < thin.skipped + len(stamps) <= 40
    assert len(shown(record(bag, max_frames=100))) == 40


def test_most_frames_of_a_folder_are_spread(tmp_path):
    for index in range(20):
        PilImage.new('RGB', (12, 8), (shade(index % 10),) * 3).save(tmp_path / f'{index}.png')
    stamps = [stamp for stamp, _ in shown(record(tmp_path, max_frames=5, fps=1.0))]
    assert [(stamp - SECOND) / SECOND for stamp in stamps] == [0, 4, 8, 12, 16]


def test_pictures_are_of_the_evidence_or_of_the_asking(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(10)})
    asked = [
        ask('seen', START + 9 * TENTH, evidence=[
            [START, START + TENTH], [START + 3 * TENTH, START + 5 * TENTH]]),
        ask('later', START + 2 * TENTH, evidence=[
            [START, START + TENTH], [START + 6 * TENTH, START + 8 * TENTH]]),
        ask('now', START + 7 * TENTH + 5), ask('end'), ask('../up', START)]
    stream = record(bag, *asked, output=tmp_path / 'out')
    stream.survey()
    found = {}
    for name, path in stream.pictures.items():
        with PilImage.open(tmp_path / 'out' / path) as picture:
            assert picture.format == 'JPEG'
            found[name] = int(np.asarray(picture).mean())
    expected = {'seen': 4, 'later': 0, 'now': 7, 'end': 9, '../up': 0}
    for name, index in expected.items():
        assert abs(found[name] - shade(index)) <= 2, name
    assert not (tmp_path / 'out' / 'up.jpg').exists()
    assert len([*(tmp_path / 'out' / 'frames' / 'it').iterdir()]) == 5
    assert record(bag, *asked).pictures == {}


def test_a_wide_picture_is_made_small(tmp_path):
    PilImage.new('RGB', (1280, 720)).save(tmp_path / 'one.png')
    stream = record(tmp_path / 'one.png', ask(), output=tmp_path / 'out')
    stream.survey()
    with PilImage.open(tmp_path / 'out' / stream.pictures['q']) as picture:
        assert picture.size == (320, 180)


def test_names_make_files_that_stay_apart():
    assert file_name('tour-1.a') == 'tour-1.a'
    names = ['a/b', 'a_b', 'a:b', '../a', '.', '..', 'x' * 300, 'x' * 301, '\u00e9']
    made = [file_name(name) for name in names]
    assert len(set(made)) == len(names)
    for name in made:
        assert '/' not in name
        assert not name.startswith('.')
        assert len(name) < 100
    assert picture_path('a', 'b') == 'frames/a/b.jpg'


def test_files_are_identified(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(3)})
    asked = tmp_path / 'questions.jsonl'
    asked.write_text(json.dumps({}))
    stream = record(bag, question_files=(asked,))
    listed = {each['path']: each for each in stream.inputs}
    assert len(listed) == 3
    for path in (*bag.iterdir(), asked):
        assert listed[str(path)]['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert listed[str(path)]['bytes'] == path.stat().st_size
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    PilImage.new('RGB', (12, 8)).save(pictures / '0.png')
    [one] = described(pictures)
    (pictures / '0.png').rename(pictures / '1.png')
    [other] = described(pictures)
    assert one['bytes'] == other['bytes'] == (pictures / '1.png').stat().st_size
    assert one['sha256'] != other['sha256']


def test_a_recording_goes_to_another_process_whole(tmp_path):
    recording = Recording('it', 'sort', 3, tmp_path, [ask()], topic='/cam', fps=2.0)
    copy = pickle.loads(pickle.dumps(recording))
    assert (copy.name, copy.seed, copy.topic, copy.questions[0].id) == ('it', 3, '/cam', 'q')


def test_a_damaged_recording_says_so(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(200)})
    [file] = bag.glob('*.mcap')
    # Cut short by a power failure: no summary at its end.
    file.write_bytes(file.read_bytes()[:file.stat().st_size // 2])
    with pytest.raises(SourceError, match=r'cannot be read as a ROS 2 bag.*mcap recover'):
        record(bag).survey()
    video = write_video(tmp_path / 'sound.mp4', [], audio=True)
    with pytest.raises(SourceError, match='has no video stream'):
        record(video)
