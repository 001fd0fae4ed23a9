# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings to frames: real bags, videos and folders, written here and read back."""

from __future__ import annotations

import os
import sqlite3
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PilImage
from recording_files import (
    SECOND,
    START,
    camera,
    compressed,
    encoded,
    image,
    shade,
    shared_videos,
    text,
    write_bag,
    write_video,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from video_streams import PERIOD, ffmpeg, foxglove, packets

from infinipot_ros.errors import ConfigurationError, SourceError
from infinipot_ros.images.image_messages import MAX_FRAME_ID
from infinipot_ros.recordings.folders import natural_key
from infinipot_ros.recordings.frame_source import Rate
from infinipot_ros.recordings.sources import open_source

# Bags -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('make', [image, compressed])
@pytest.mark.parametrize('single_file', [False, True])
def test_bag(tmp_path, plugin, make, single_file):
    bag = write_bag(
        tmp_path / 'bag', {'/cam': camera(make=make), '/chat': [(START, text(0))]}, plugin=plugin
    )
    path = next(file for file in bag.iterdir() if file.suffix != '.yaml') if single_file else bag
    with open_source(path) as source:
        assert (source.kind, source.count_hint, source.topic) == ('bag', 10, '/cam')
        frames = list(source)
    assert source.seen == 10
    assert not source.dropped
    assert [frame.stamp_ns for frame in frames] == [START + i * SECOND // 10 for i in range(10)]
    assert {frame.camera for frame in frames} == {'camera'}
    for index, frame in enumerate(frames):
        assert frame.rgb.shape == (8, 12, 3)
        assert frame.rgb.flags.c_contiguous
        assert (frame.rgb == shade(index)).all()


@pytest.mark.parametrize('mode', ['FILE', 'MESSAGE'])
def test_bag_compressed_by_rosbag(tmp_path, mode):
    bag = write_bag(
        tmp_path / 'bag',
        {'/cam': camera()},
        plugin=StoragePlugin.SQLITE3,
        mode=CompressionMode[mode],
    )
    assert len(list(open_source(bag))) == 10


def test_bag_can_be_walked_twice_and_left_half_way(tmp_path):
    source = open_source(write_bag(tmp_path / 'bag', {'/cam': camera()}))
    for _ in range(2):
        walk = iter(source)
        next(walk)
        next(walk)
    assert source.seen == 2
    assert len(list(source)) == 10
    source.close()


def test_bag_without_metadata_that_was_cut_short_in_time(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()})
    (bag / 'metadata.yaml').unlink()
    assert len(list(open_source(bag))) == 10


def test_bag_fps(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(31, period=SECOND // 30)})
    source = open_source(bag, fps=5)
    frames = list(source)
    assert [round((frame.stamp_ns - START) / SECOND, 1) for frame in frames] == [
        0.0,
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
    ]
    assert (source.seen, source.skipped) == (31, 25)
    assert abs(source.count_hint - len(frames)) <= 1


def test_bag_topics_are_chosen_or_listed(tmp_path):
    topics = {
        '/left/image': camera(3),
        '/right/image/compressed': camera(4, make=compressed),
        '/chat': [(START, text(0))],
    }
    bag = write_bag(tmp_path / 'bag', topics)
    with pytest.raises(SourceError) as caught:
        open_source(bag)
    assert '/left/image (sensor_msgs/msg/Image, 3)' in str(caught.value)
    assert '/right/image/compressed (sensor_msgs/msg/CompressedImage, 4)' in str(caught.value)
    assert '/chat' not in str(caught.value)
    assert len(list(open_source(bag, topic='/left/image'))) == 3
    assert len(list(open_source(bag, topic='right/image/compressed'))) == 4
    with pytest.raises(SourceError, match='/up does not exist; image topics: /left/image'):
        open_source(bag, topic='/up')
    with pytest.raises(SourceError, match='/chat has type std_msgs/msg/String'):
        open_source(bag, topic='/chat')


def test_bag_depth_is_no_rival(tmp_path):
    topics = {'/cam': camera(3), '/depth/compressedDepth': camera(3, make=compressed)}
    assert open_source(write_bag(tmp_path / 'bag', topics)).topic == '/cam'


def test_bag_without_images_names_what_it_has(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/chat': [(START, text(0))]})
    with pytest.raises(SourceError, match=r'no images .*; topics: /chat \(std_msgs/msg/String, 1'):
        open_source(bag)


def test_bag_bad_images_are_counted_and_left_out(tmp_path):
    messages = camera(6)
    messages[1][1].encoding = 'secret'
    messages[2][1].step = 1
    messages[3][1].height = 0
    messages[4][1].height = 9
    source = open_source(write_bag(tmp_path / 'bag', {'/cam': messages}))
    assert [int(frame.rgb[0, 0, 0]) for frame in source] == [shade(0), shade(5)]
    assert source.seen == 6
    assert source.dropped == {
        'unknown_encoding': 1,
        'wrong_step': 1,
        'zero_size': 1,
        'short_data': 1,
    }


def test_bag_topic_is_one_camera_whatever_its_frame_ids(tmp_path):
    messages = camera(40)
    for index, (_, message) in enumerate(messages):
        message.header.frame_id = f'camera_{index + 1}'
    source = open_source(write_bag(tmp_path / 'bag', {'/cam': messages}))
    for _ in range(2):
        assert [frame.camera for frame in source] == ['camera_1'] * 40


def test_bag_images_of_endless_frame_ids_are_left_out(tmp_path):
    messages = camera(4)
    for index, length in enumerate((300_000, MAX_FRAME_ID + 1, MAX_FRAME_ID, 0)):
        messages[index][1].header.frame_id = 'f' * length
    source = open_source(write_bag(tmp_path / 'bag', {'/cam': messages}))
    assert [frame.camera for frame in source] == ['f' * MAX_FRAME_ID] * 2
    assert source.dropped == {'malformed': 2}


@pytest.mark.parametrize('make', [foxglove, ffmpeg])
@pytest.mark.parametrize('codec', ['h264', 'h265', 'av1'])
@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_bag_of_video(tmp_path, make, codec, plugin):
    """Thinned by the rate once it is decoded; what comes before a key frame is counted."""
    made = [(stamp_ns, make(stamp_ns, data, codec)) for stamp_ns, data in packets(codec)[2:]]
    bag = write_bag(tmp_path / 'bag', {'/cam/video': made}, plugin=plugin)
    with open_source(bag) as source:
        frames = list(source)
        assert [(each.stamp_ns - START) // PERIOD for each in frames] == list(range(5, 20))
        assert (source.seen, source.dropped) == (18, {'waiting_for_key_frame': 3})
        assert {(each.camera, each.rgb.shape) for each in frames} == {('camera', (48, 64, 3))}
    with open_source(bag, fps=2) as source:
        assert [(each.stamp_ns - START) // PERIOD for each in source] == [5, 10, 15]
        assert (source.seen, source.skipped) == (18, 12)


def test_bag_of_video_with_pictures_above_the_limit(tmp_path):
    made = [(stamp_ns, foxglove(stamp_ns, data)) for stamp_ns, data in packets('h264')]
    bag = write_bag(tmp_path / 'bag', {'/cam/video': made})
    with open_source(bag, max_image_pixels=1000) as source:
        assert list(source) == []
        assert source.dropped == {'too_large': 20}
        assert '--max-image-pixels' in source.why['too_large']


def test_bag_message_that_is_no_image(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(3)}, plugin=StoragePlugin.SQLITE3)
    file = next(bag.glob('*.db3'))
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = x'0001000000' WHERE id = 2")
    database.close()
    source = open_source(bag)
    assert len(list(source)) == 2
    assert source.dropped == {'decode_failed': 1}


@pytest.mark.parametrize('suffix', ['.mcap', '.db3'])
@pytest.mark.parametrize('content', [b'', b'no bag at all', bytes(5000), b'\x89MCAP0\r\n'])
def test_corrupt_file(tmp_path, suffix, content):
    path = tmp_path / f'bag{suffix}'
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r'bag\.'):
        list(open_source(path))


@pytest.mark.chaos
@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.7, 0.99])
def test_bag_cut_short_or_damaged(tmp_path, plugin, share):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera(200)}, plugin=plugin)
    file = next(file for file in bag.iterdir() if file.suffix != '.yaml')
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match='cannot be read as a ROS 2 bag'):
        list(open_source(bag))
    where = int(len(data) * share)
    file.write_bytes(data[:where] + b'\xff' * 3000 + data[where + 3000 :])
    try:
        list(open_source(bag))
    except SourceError:
        pass


@pytest.mark.parametrize('content', ['', 'a: [', 'a: b', '- 1', 'rosbag2_bagfile_information: 5'])
def test_bag_with_corrupt_metadata(tmp_path, content):
    (tmp_path / 'metadata.yaml').write_text(content)
    with pytest.raises(SourceError, match='cannot be read as a ROS 2 bag'):
        open_source(tmp_path)


def test_bag_of_several_files_without_metadata(tmp_path):
    for name in ('a_0.mcap', 'a_1.mcap'):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match='ros2 bag reindex'):
        open_source(tmp_path)


def test_ros_1_bag_is_told_the_way(tmp_path):
    path = tmp_path / 'old.bag'
    path.touch()
    with pytest.raises(SourceError, match='rosbags-convert'):
        open_source(path)


# Videos -----------------------------------------------------------------------------------------


def seconds(source, frames):
    return [round((frame.stamp_ns - source.origin_ns) / SECOND, 3) for frame in frames]


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_video(tmp_path, suffix):
    path = write_video(tmp_path / f'clip.{suffix}', range(0, 2000, 100))
    source = open_source(path)
    frames = list(source)
    assert source.kind == 'video'
    assert source.seen == len(frames) == 20
    assert seconds(source, frames) == [round(0.1 * i, 3) for i in range(20)]
    assert frames[0].stamp_ns > 0
    for index, frame in enumerate(frames):
        assert frame.rgb.shape == (48, 64, 3)
        assert frame.rgb.flags.c_contiguous
        assert abs(int(frame.rgb[30, 40].mean()) - shade(index % 10)) < 6
        assert frame.rgb[2, 2, 0] > 150 > 100 > frame.rgb[2, 2, 1]
    assert len(list(source)) == 20


def test_video_of_variable_rate(tmp_path):
    stamps = [0, 40, 80, 900, 940, 2500, 2600]
    source = open_source(write_video(tmp_path / 'clip.mkv', stamps))
    assert seconds(source, list(source)) == [stamp / 1000 for stamp in stamps]
    source = open_source(tmp_path / 'clip.mkv', fps=2)
    assert seconds(source, list(source)) == [0.0, 0.9, 2.5]
    assert source.skipped == 4


def test_video_fps_and_count_hint(tmp_path):
    path = write_video(tmp_path / 'clip.mp4', range(0, 4000, 40))
    for fps, expected in ((2, 8), (5, 20), (25, 100), (60, 100)):
        source = open_source(path, fps=fps)
        # A frame may be a tenth of an interval early, so one more can fit in at the end.
        assert 0 <= len(list(source)) - expected <= 1
        assert abs(source.count_hint - expected) <= 1


@pytest.mark.parametrize(
    ('matrix', 'corner', 'shape'),
    [
        # As phones write it: (a, b, c, d) of the track's matrix, row vector times matrix.
        ((1, 0, 0, 1), (2, 2), (48, 64, 3)),
        ((0, 1, -1, 0), (2, -3), (64, 48, 3)),  # turn by 90 degrees clockwise to see it upright
        ((-1, 0, 0, -1), (-3, -3), (48, 64, 3)),
        ((0, -1, 1, 0), (-3, 2), (64, 48, 3)),
    ],
)
def test_video_is_turned_upright(tmp_path, matrix, corner, shape):
    path = write_video(tmp_path / 'clip.mp4', range(0, 400, 100))
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 4 + 40  # version 0: the 3x3 matrix in 16.16 and 2.30 fixed point
    a, b, c, d = (value * 65536 for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 0x40000000)
    data[at : at + 36] = b''.join(value.to_bytes(4, 'big', signed=True) for value in values)
    path.write_bytes(data)
    for frame in open_source(path):
        assert frame.rgb.shape == shape
        red, green, _blue = (int(value) for value in frame.rgb[corner])
        assert red > 150 > 100 > green


@pytest.mark.parametrize(('suffix', 'codec'), [
    ('ts', 'mpeg4'), ('mkv', 'mpeg4'), ('mp4', 'mpeg4'), ('webm', 'libvpx')])
@pytest.mark.parametrize('start_ms', [80, 1400, 36_000_000])
def test_the_first_picture_is_the_start_of_a_video(tmp_path, suffix, codec, start_ms):
    """Recorders write their clock's time, and cutting leaves what it was before."""
    stamps = range(0, 2000, 40)
    path = write_video(
        tmp_path / f'clip.{suffix}', [start_ms + stamp for stamp in stamps], codec=codec)
    source = open_source(path)
    for _ in range(2):
        assert seconds(source, list(source)) == [stamp / 1000 for stamp in stamps]
    assert source.seconds == pytest.approx(2.0, abs=0.1)
    source = open_source(path, fps=2)
    assert abs(len(list(source)) - source.count_hint) <= 1
    assert source.count_hint == 4


def test_a_cover_picture_is_not_the_video(tmp_path):
    path = write_video(tmp_path / 'clip.mp4', range(0, 2000, 100), cover=encoded(3, 'JPEG'))
    data = path.read_bytes()
    # Phones write the notes before the tracks, and so the cover becomes the first stream.
    inside = data.index(b'moov') + 4
    tracks, notes = (data.index(name, inside) - 4 for name in (b'trak', b'udta'))
    path.write_bytes(data[:tracks] + data[notes:] + data[tracks:notes])
    source = open_source(path)
    assert {frame.rgb.shape for frame in source} == {(48, 64, 3)}
    assert source.seen == 20
    path = write_video(tmp_path / 'song.mp4', [], audio=True, cover=encoded(3, 'JPEG'))
    with pytest.raises(SourceError, match=r'no video stream \(streams: audio, cover picture\)'):
        open_source(path)


def test_a_video_is_not_decoded_past_its_limit(tmp_path):
    """The size is written again with each key frame: what the header says binds nobody."""
    small, large = (
        write_video(tmp_path / f'{side}.ts', range(0, 400, 40), size=(side, side)).read_bytes()
        for side in (64, 1024))
    between = write_video(
        tmp_path / 'between.ts', range(0, 400, 40), size=(512, 528)).read_bytes()
    path = tmp_path / 'grows.ts'
    path.write_bytes(small + between + large)
    source = open_source(path, max_image_pixels=512 * 512)
    assert {frame.rgb.shape for frame in source} == {(64, 64, 3)}
    # The last picture of a size may be lost where the next one begins.
    assert source.dropped['decode_failed'] >= 9 <= source.dropped['too_large']
    assert source.dropped.total() + 9 <= source.seen
    assert 'larger than 262144 pixels' in source.why['decode_failed']
    assert '512x528 = 270336 pixels, the limit is 262144' in source.why['too_large']
    assert len(list(open_source(path))) >= 28
    path.write_bytes(large)
    with pytest.raises(SourceError, match='262144'):
        list(open_source(path, max_image_pixels=512 * 512))


def test_video_without_video(tmp_path):
    path = write_video(tmp_path / 'sound.mp4', [], audio=True)
    with pytest.raises(SourceError, match=r'no video stream \(streams: audio\)'):
        open_source(path)


def test_video_without_frames(tmp_path):
    path = write_video(tmp_path / 'clip.avi', [0, 40, 80])
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'movi') + 4])
    with pytest.raises(SourceError, match='not one readable frame'):
        list(open_source(path))


@pytest.mark.parametrize(
    'content', [b'', b'just some text\n' * 100, os.urandom(4000)], ids=['empty', 'text', 'noise']
)
@pytest.mark.parametrize('name', ['clip.mp4', 'clip.avi', 'clip', 'clip.txt'])
def test_not_a_video(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match='clip'):
        list(open_source(path))


def test_video_with_damage_in_the_middle(tmp_path):
    path = write_video(tmp_path / 'clip.mp4', range(0, 4000, 40))
    data = bytearray(path.read_bytes())
    middle = data.index(b'mdat') + 2000
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    source = open_source(path)
    try:
        frames = list(source)
    except SourceError:
        return
    assert len(frames) + source.dropped.total() == source.seen


def test_playlists_do_not_reach_for_the_network(tmp_path):
    path = tmp_path / 'clip.m3u8'
    path.write_text('#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/clip.ts\n#EXT-X-ENDLIST\n')
    with pytest.raises(SourceError):
        list(open_source(path))


@pytest.mark.parametrize('path', [None, *shared_videos()], ids=lambda path: path and path.name)
def test_frames_of_a_video_come_at_the_wanted_rate(tmp_path, path):
    path = path or write_video(tmp_path / 'clip.mp4', range(0, 8000, 40))
    source = open_source(path, fps=2)
    frames = list(source)
    assert abs(len(frames) - source.count_hint) <= 1
    assert len(frames) > 10
    assert source.seen == len(frames) + source.skipped
    gaps = np.diff([frame.stamp_ns for frame in frames]) / SECOND
    assert gaps.min() > 0.4
    assert abs(gaps.mean() - 0.5) < 0.05
    assert all(frame.rgb.std() > 5 for frame in frames)


# Folders ----------------------------------------------------------------------------------------


def test_folder(tmp_path):
    for index in range(12):
        kind = 'PNG' if index % 2 else 'JPEG'
        suffix = 'png' if index % 2 else ('JPG', 'jpeg')[index % 4 // 2]
        (tmp_path / f'frame{index}.{suffix}').write_bytes(encoded(index % 10, kind))
    (tmp_path / 'notes.txt').write_text('not an image')
    (tmp_path / '._frame0.jpg').write_bytes(b'not an image either')
    (tmp_path / 'deeper').mkdir()
    source = open_source(tmp_path)
    frames = list(source)
    assert (source.kind, source.count_hint, source.seen) == ('folder', 12, 12)
    assert seconds(source, frames) == [0.5 * i for i in range(12)]
    assert frames[0].stamp_ns > 0
    for index, frame in enumerate(frames):
        assert abs(int(frame.rgb.mean()) - shade(index % 10)) <= 1
    source = open_source(tmp_path, fps=4)
    assert seconds(source, list(source)) == [0.25 * i for i in range(12)]


def test_single_image(tmp_path):
    path = tmp_path / 'photo.png'
    path.write_bytes(encoded(3))
    (frame,) = open_source(path)
    assert (frame.rgb == shade(3)).all()


@pytest.mark.parametrize('orientation', range(1, 9))
def test_folder_images_are_turned_upright(tmp_path, orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = PilImage.fromarray(pixels)
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / 'a.png', exif=exif)
    (frame,) = open_source(tmp_path)
    from PIL import ImageOps

    with PilImage.open(tmp_path / 'a.png') as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(frame.rgb, expected)


def test_folder_with_unreadable_images(tmp_path):
    (tmp_path / '1.png').write_bytes(encoded(1))
    (tmp_path / '2.png').write_bytes(encoded(2)[:-20])
    (tmp_path / '3.jpg').write_bytes(b'')
    (tmp_path / '4.png').write_bytes(encoded(4))
    source = open_source(tmp_path)
    # A frame that is missing leaves its time empty.
    assert seconds(source, list(source)) == [0.0, 1.5]
    assert source.dropped == {'decode_failed': 1, 'zero_size': 1}
    for name in ('1.png', '4.png'):
        (tmp_path / name).unlink()
    with pytest.raises(SourceError, match=r'none of 2 images is readable; 2\.png: png of'):
        list(open_source(tmp_path))


def test_folder_images_have_a_limit_of_pixels_and_bytes(tmp_path):
    (tmp_path / '1.png').write_bytes(encoded(1))
    (tmp_path / '2.png').write_bytes(encoded(2) + bytes(8 * 96 + 2 ** 24))
    source = open_source(tmp_path, max_image_pixels=96)
    assert len(list(source)) == 1
    assert source.dropped == {'too_large': 1}
    source = open_source(tmp_path, max_image_pixels=95)
    with pytest.raises(SourceError, match=r'12x8 = 96 pixels, the limit is 95: .*--max-image-'):
        list(source)


def test_folder_without_images(tmp_path):
    (tmp_path / 'a.txt').touch()
    with pytest.raises(SourceError, match='holds 1 files, none of them an image'):
        open_source(tmp_path)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_natural_order(numbers):
    names = [f'Frame{number}.jpg' for number in numbers]
    assert sorted(names, key=natural_key) == [f'Frame{number}.jpg' for number in sorted(numbers)]


@given(st.text(max_size=9), st.text(max_size=9))
def test_natural_order_takes_any_names(one, other):
    sorted([one, other], key=natural_key)


# What they share --------------------------------------------------------------------------------


def test_missing_path(tmp_path):
    with pytest.raises(SourceError, match='nowhere does not exist'):
        open_source(tmp_path / 'nowhere')


@pytest.mark.parametrize(('module', 'library'), [
    ('rosbags.typesys', 'rosbags'), ('backports', 'backports.zstd'), ('lz4.frame', 'lz4'),
    ('av', 'av')])
def test_a_missing_library_is_named(tmp_path, monkeypatch, module, library):
    path = write_video(tmp_path / 'clip.mp4', [0, 40]) if library == 'av' else (
        write_bag(tmp_path / 'bag', {'/cam': camera(1)}))
    for name in [name for name in sys.modules if name.startswith('infinipot_ros.recordings.')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigurationError, match=f'pip install {library}'):
        open_source(path)


def test_topic_of_something_without_topics(tmp_path):
    (tmp_path / '1.png').write_bytes(encoded(1))
    with pytest.raises(SourceError, match='not a ROS 2 bag, so it has no topic /cam'):
        open_source(tmp_path, topic='/cam')


@pytest.mark.parametrize('fps', [0, -1, float('nan'), float('inf'), 1e9])
def test_impossible_fps(tmp_path, fps):
    (tmp_path / '1.png').write_bytes(encoded(1))
    with pytest.raises(ConfigurationError, match='fps is'):
        open_source(tmp_path, fps=fps)


@given(
    fps=st.floats(0.2, 60),
    camera_fps=st.floats(1, 120),
    jitter=st.lists(st.floats(-0.04, 0.04), min_size=50, max_size=150),
)
def test_rate_keeps_the_mean(fps, camera_fps, jitter):
    rate = Rate(fps)
    stamps = [START + round((i + wobble) / camera_fps * SECOND) for i, wobble in enumerate(jitter)]
    taken = [stamp for stamp in stamps if rate.takes(stamp)]
    assert taken[0] == stamps[0]
    if fps >= camera_fps * 1.2:
        assert taken == stamps
    else:
        span = (stamps[-1] - stamps[0]) / SECOND
        assert len(taken) <= span * min(fps, camera_fps * 1.05) + 2
        assert len(taken) >= span * min(fps, camera_fps) * 0.45


def test_rate_after_a_pause_and_a_jump_back():
    rate = Rate(1)
    stamps = [0.0, 0.5, 1.0, 9.3, 9.8, 10.3, 2.0, 2.5, 3.0]
    taken = [stamp for stamp in stamps if rate.takes(START + round(stamp * SECOND))]
    assert taken == [0.0, 1.0, 9.3, 10.3, 2.0, 3.0]
