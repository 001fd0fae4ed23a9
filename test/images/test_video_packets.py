# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Video messages to pictures: each message becomes one picture or one error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_streams import (
    ENCODERS,
    PERIOD,
    SECOND,
    START,
    ffmpeg,
    foxglove,
    packets,
    shade,
)

from infinipot_ros.errors import FrameError
from infinipot_ros.images.image_messages import MAX_PIXELS
from infinipot_ros.images.video_packets import VideoDecoder, VideoPicture, codec_of

CODECS = tuple(ENCODERS)


def decode(messages, max_pixels=MAX_PIXELS):
    """Return the pictures, and how many messages became none, by reason."""
    decoder, messages, outcomes = VideoDecoder(max_pixels), list(messages), []
    for message in messages:
        outcomes += decoder.add(message)
    outcomes += decoder.end()
    assert len(outcomes) == len(messages)
    errors = Counter(each.reason for each in outcomes if isinstance(each, FrameError))
    return [each for each in outcomes if isinstance(each, VideoPicture)], errors


def indices(pictures):
    """Return which frames pictures are by their stamps, if they look like those."""
    found = [(picture.stamp_ns - START) // PERIOD for picture in pictures]
    for index, picture in zip(found, pictures):
        assert abs(picture.rgb().mean() - shade(index)) < 3
    return found


@pytest.mark.parametrize('make', [foxglove, ffmpeg])
@pytest.mark.parametrize('codec', CODECS)
def test_a_stream_becomes_its_pictures_at_once(codec, make):
    decoder = VideoDecoder(MAX_PIXELS)
    for index, (stamp_ns, data) in enumerate(packets(codec)):
        (picture,) = decoder.add(make(stamp_ns, data, codec))
        rgb = picture.rgb()
        assert (picture.stamp_ns, picture.frame_id) == (START + index * PERIOD, 'camera')
        assert (rgb.shape, rgb.dtype) == ((48, 64, 3), np.uint8)
        assert abs(rgb.mean() - shade(index)) < 3
    assert decoder.end() == []


@pytest.mark.parametrize('codec', CODECS)
def test_what_comes_before_a_key_frame_is_counted(codec):
    messages = [foxglove(*each, codec) for each in packets(codec)[2:]]
    pictures, errors = decode(messages)
    assert indices(pictures) == list(range(5, 20))
    assert errors == {'waiting_for_key_frame': 3}


@pytest.mark.parametrize('codec', CODECS)
def test_damaged_packets_cost_no_more_than_up_to_the_next_key_frame(codec):
    made = packets(codec)
    damaged = [foxglove(stamp_ns, data[:6] + b'\xff' * 40 if index == 7 else data, codec)
               for index, (stamp_ns, data) in enumerate(made)]
    pictures, errors = decode(damaged)
    found = [(each.stamp_ns - START) // PERIOD for each in pictures]
    assert found[:7] == list(range(7))
    assert found[-10:] == list(range(10, 20))
    assert errors.total() == 20 - len(found)
    assert errors['decode_failed'] > 0


@pytest.mark.parametrize('codec', CODECS)
def test_a_lost_packet_costs_no_more_than_up_to_the_next_key_frame(codec):
    made = packets(codec)
    pictures, _ = decode(foxglove(*each, codec) for each in [*made[:7], *made[8:]])
    found = [(each.stamp_ns - START) // PERIOD for each in pictures]
    assert found[:7] == list(range(7))
    assert indices(pictures[-10:]) == list(range(10, 20))


@pytest.mark.parametrize('codec', ['h264', 'h265'])
def test_pictures_that_are_reordered_keep_their_stamps(codec):
    options = {'h264': (('preset', 'medium'), ('bf', '3')),
               'h265': (('preset', 'medium'), ('x265-params', 'log-level=none:bframes=3:pools=1'))}
    made = packets(codec, gop=10, options=options[codec])
    assert [stamp_ns for stamp_ns, _ in made] != sorted(stamp_ns for stamp_ns, _ in made)
    pictures, errors = decode(foxglove(*each, codec) for each in made)
    assert indices(pictures) == list(range(20))
    assert not errors


@pytest.mark.parametrize('codec', CODECS)
def test_a_stream_may_change_its_size_and_its_codec(codec):
    larger = [(stamp_ns + 2 * SECOND, data) for stamp_ns, data in packets(codec, size=(128, 96))]
    other = CODECS[CODECS.index(codec) - 1]
    messages = [foxglove(*each, codec) for each in [*packets(codec), *larger]]
    messages += [foxglove(stamp_ns + 4 * SECOND, data, other) for stamp_ns, data in packets(other)]
    pictures, errors = decode(messages)
    assert [each.rgb().shape[:2] for each in pictures] == [(48, 64)] * 20 + [(96, 128)] * 20 + [
        (48, 64)] * 20
    assert not errors


def test_a_stream_that_begins_again_waits_for_its_key_frame():
    made = packets('h264')
    pictures, errors = decode(foxglove(*each) for each in [*made, *made[1:]])
    assert indices(pictures) == [*range(20), *range(5, 20)]
    assert errors == {'waiting_for_key_frame': 4}


@pytest.mark.parametrize('codec', CODECS)
def test_pictures_above_the_limit_are_refused(codec):
    """As far above it as decoders' margins cannot explain: before memory is taken for them."""
    made = packets(codec, count=5, size=(1024, 768))
    for limit in (1024 * 767, 1024 * 64):
        pictures, errors = decode((foxglove(*each, codec) for each in made), limit)
        assert not pictures
        assert errors.total() == 5
    assert decode((foxglove(*each, codec) for each in made), 1024 * 768)[0]


BAD = {
    'no bytes': (foxglove(START, b''), 'zero_size'),
    'vp9': (foxglove(START, b'\0\0\1\x67', 'vp9'), 'unknown_encoding'),
    'a codec without a name': (foxglove(START, b'\0\0\1\x67', ''), 'unknown_encoding'),
    'a size of 16k': (ffmpeg(START, packets('h264')[0][1], size=(16_384, 16_384)), 'too_large'),
    'a size of one side': (ffmpeg(START, packets('h264')[0][1], size=(64, 0)), 'zero_size'),
    'a parameter set alone': (foxglove(START, b'\0\0\0\1\x67\x42'), 'decode_failed'),
    'text': (foxglove(START, b'hello, robot'), 'waiting_for_key_frame'),
    'zeros': (foxglove(START, bytes(100), 'av1'), 'waiting_for_key_frame'),
    'a long frame_id': (type(BASE := foxglove(START, b'1'))(
        **{**vars(BASE), 'frame_id': 'x' * 300}), 'malformed'),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_messages_are_counted_and_end_nothing(name):
    message, reason = BAD[name]
    good = [(stamp_ns + SECOND, data) for stamp_ns, data in packets('h264', count=5)]
    pictures, errors = decode([message, *(foxglove(*each) for each in good)])
    assert len(pictures) == 5
    assert errors == {reason: 1}


@pytest.mark.parametrize(('text', 'codec'), [
    ('h264', 'h264'), ('H265', 'h265'), ('hevc', 'h265'), ('libx264', 'h264'), ('av1', 'av1'),
    ('hevc_nvenc', 'h265'), ('h264_vaapi;nv12;bgr8;bgr8', 'h264'), ('libsvtav1', 'av1'),
])
def test_codecs_go_by_the_names_of_their_encoders_too(text, codec):
    assert codec_of(foxglove(START, b'1', text)) == codec


@settings(deadline=None, max_examples=60)
@given(
    codec=st.sampled_from(CODECS),
    lost=st.sets(st.integers(0, 19), max_size=6),
    changed=st.dictionaries(st.integers(0, 19), st.binary(max_size=60), max_size=6),
    cut=st.dictionaries(st.integers(0, 19), st.integers(0, 200), max_size=6),
)
def test_any_stream_becomes_pictures_and_errors(codec, lost, changed, cut):
    pictures, errors = decode(
        foxglove(stamp_ns, (changed.get(index, b'') + data)[:cut.get(index, len(data))], codec)
        for index, (stamp_ns, data) in enumerate(packets(codec)) if index not in lost)
    assert len(pictures) + errors.total() == 20 - len(lost)
    assert all(picture.rgb().ndim == 3 for picture in pictures)
