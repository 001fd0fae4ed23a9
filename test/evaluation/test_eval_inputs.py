# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which recordings and questions are meant, and what they are called."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eval_command import asked_at_the_end
from recording_files import write_video

from infinipot_ros.errors import InfinipotError, SourceError
from infinipot_ros.evaluation.eval_inputs import Wanted, named_recordings
from infinipot_ros.evaluation.recorded_stream import RecordedStream

WANTED = Wanted(None, None, False, None)


def named(*paths, files=(), wanted=WANTED):
    return named_recordings(paths, (), files, wanted).recordings


def test_recordings_are_named_by_what_tells_them_apart(tmp_path):
    for name in ('a/tour', 'b/tour'):
        (tmp_path / name).mkdir(parents=True)
        write_video(tmp_path / name / 'walk.mp4', [0, 100])
        (tmp_path / name / 'questions.yaml').write_text('questions:\n- {ask: a, answer: b}\n')
    # A folder with one recording in it stands for that.
    one, other = named(tmp_path / 'a/tour', tmp_path / 'b/tour')
    assert (one.name, other.name) == ('a/tour', 'b/tour')
    assert one.path == tmp_path / 'a/tour/walk.mp4'
    [alone] = named(tmp_path / 'b/tour')
    assert alone.name == 'tour'
    write_video(tmp_path / 'a/tour/second.mp4', [0, 100])
    with pytest.raises(SourceError, match=r'holds 2 recordings \(second.mp4, walk.mp4\)'):
        named(tmp_path / 'a/tour')


def test_one_file_of_questions_for_all_or_one_each(tmp_path):
    paths = [write_video(tmp_path / f'{name}.mp4', [0, 100]) for name in 'ab']
    files = []
    for name in 'xy':
        files.append(tmp_path / f'{name}.yaml')
        files[-1].write_text(f'questions:\n- {{ask: {name}, answer: b}}\n')
    assert [each.questions_path for each in named(*paths, files=files[:1])] == [str(files[0])] * 2
    assert [each.suite for each in named(*paths, files=files)] == ['x', 'y']
    with pytest.raises(InfinipotError, match=r'no questions.jsonl or questions.yaml'):
        named(*paths)


def test_the_limit_of_pixels_reaches_the_recording(tmp_path):
    path = write_video(tmp_path / 'walk.mp4', [0, 100], size=(64, 48))
    (tmp_path / 'questions.yaml').write_text('questions:\n- {ask: a, answer: b}\n')
    for limit, taken in ((None, 2), (64 * 48, 2)):
        [recording] = named(path, wanted=replace(WANTED, max_image_pixels=limit))
        assert len(list(recording.open())) == taken
    [recording] = named(path, wanted=replace(WANTED, max_image_pixels=64 * 48 - 1))
    with pytest.raises(SourceError, match=r'64x48 = 3072 pixels, the limit is 3071'):
        recording.open()


def test_names_that_differ_in_their_ends_alone_are_told_whole(tmp_path):
    (tmp_path / 'questions.yaml').write_text('questions:\n- {ask: a, answer: b}\n')
    paths = [write_video(tmp_path / f'walk{end}', [0, 100]) for end in ('.mp4', '.mkv')]
    assert [each.name for each in named(*paths)] == ['walk.mp4', 'walk.mkv']
    with pytest.raises(InfinipotError, match=r'walk.mp4 is given twice'):
        named(paths[0], paths[0])


def test_a_part_that_the_video_does_not_have(tmp_path):
    walk = asked_at_the_end(tmp_path, 'walk', 6)
    [recording] = named(walk)
    stream = RecordedStream(replace(recording, start_ns=5 * 10**9, end_ns=7 * 10**9))
    with pytest.raises(SourceError, match=r'no frame between 5.000 s and 7.000 s'):
        stream.survey()
