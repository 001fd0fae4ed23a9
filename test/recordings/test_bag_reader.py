# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags as robots leave them: cut off, split, of other recorders, with lies inside."""

from __future__ import annotations

import functools
import shutil
import sqlite3
import struct
import tracemalloc
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_writer import Channel, McapWriter, compress, images, record
from mcap_writer import text as mcap_text
from recording_files import SECOND, START, camera, compressed, shade, text, write_bag
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin

from infinipot_ros.errors import SourceError
from infinipot_ros.recordings.bag_reader import BagReader
from infinipot_ros.recordings.sources import open_source
from infinipot_ros.recordings.storage_file import zstd

DEMO = Path(__file__).resolve().parents[2] / 'demo' / 'tour'
STAMPS = [START + index * SECOND // 10 for index in range(10)]


def stamps(path, **options):
    return [frame.stamp_ns for frame in open_source(path, **options)]


def storage_file(bag):
    return next(file for file in bag.iterdir() if file.name != 'metadata.yaml')


# What rosbags reads, too -------------------------------------------------------------------------


def same_as_rosbags(path):
    with BagReader(path) as ours, Reader(path) as theirs:
        names = {topic.name for topic in ours.topics}
        assert list(ours.messages(names)) == [
            (connection.topic, when, bytes(data)) for connection, when, data in theirs.messages()]
        assert sorted((t.name, t.kind, t.count) for t in ours.topics) == sorted(
            (c.topic, c.msgtype, c.msgcount) for c in theirs.connections)
        assert ours.seconds == pytest.approx(theirs.duration / 1e9, abs=1e-8)


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize('mode', [None, *CompressionMode])
def test_the_same_messages_as_rosbags(tmp_path, plugin, mode):
    topics = {'/cam': camera(), '/other': camera(7, make=compressed, period=SECOND // 7),
              '/chat': [(START, text(0))]}
    if plugin is StoragePlugin.SQLITE3 and mode is CompressionMode.STORAGE:
        pytest.skip('mcap only')
    same_as_rosbags(write_bag(tmp_path / 'bag', topics, plugin=plugin, mode=mode))


def test_the_same_messages_as_rosbags_of_the_demo():
    same_as_rosbags(DEMO)


# Other recorders ---------------------------------------------------------------------------------


@pytest.mark.parametrize('profile', ['', 'ros2', 'x-foxglove'])
@pytest.mark.parametrize('summary', [True, False])
@pytest.mark.parametrize(('chunked', 'compression'), [
    (0, ''), (1, ''), (4, 'zstd'), (4, 'lz4'), (99, 'zstd')])
def test_mcap_of_any_profile(tmp_path, profile, summary, chunked, compression):
    path = tmp_path / 'bag.mcap'
    path.write_bytes(McapWriter(
        [Channel('/cam', images(camera()))], profile, chunked, compression, summary).make())
    source = open_source(path)
    assert [int(frame.rgb[0, 0, 0]) for frame in source] == [shade(index) for index in range(10)]
    assert stamps(path) == STAMPS
    assert (source.topic, source.count_hint) == ('/cam', 10)
    assert source.seconds == pytest.approx(0.9)


FOREIGN = {
    'protobuf': Channel(
        '/pb', [(START, b'\x08\1')], 'foxglove.CompressedImage', 'protobuf', 'protobuf'),
    'json': Channel('/js', [(START, b'{}')], 'thing', 'jsonschema', 'json'),
    'ros1': Channel('/old', [(START, bytes(40))], 'sensor_msgs/Image', 'ros1msg', 'ros1'),
    'cbor': Channel('/cb', [(START, b'\xa0')], 'sensor_msgs/msg/Image', '', 'cbor')}


@pytest.mark.parametrize('summary', [True, False])
@pytest.mark.parametrize('other', FOREIGN)
def test_foreign_channels_beside_those_of_ros_2(tmp_path, other, summary):
    foreign, path = FOREIGN[other], tmp_path / 'bag.mcap'
    path.write_bytes(McapWriter(
        [foreign, Channel('/cam', images(camera()))], summary=summary).make())
    assert stamps(path) == STAMPS
    with pytest.raises(SourceError, match=f'{foreign.topic} has type .* encoded as {other}; ima'):
        open_source(path, topic=foreign.topic)
    path.write_bytes(McapWriter([foreign], profile='', summary=summary).make())
    with pytest.raises(SourceError, match=f'no images .*{foreign.kind} encoded as {other}, 1'):
        open_source(path)


def test_qos_that_differs_between_metadata_and_file(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()}, plugin=StoragePlugin.SQLITE3)
    path = bag / 'metadata.yaml'
    metadata = yaml.safe_load(path.read_text())
    [topic] = metadata['rosbag2_bagfile_information']['topics_with_message_count']
    time = {'sec': 0, 'nsec': 0}
    topic['topic_metadata']['offered_qos_profiles'] = [{
        'history': 'keep_last', 'depth': 7, 'reliability': 'best_effort', 'durability': 'volatile',
        'deadline': time, 'lifespan': time, 'liveliness': 'automatic',
        'liveliness_lease_duration': time, 'avoid_ros_namespace_conventions': False}]
    path.write_text(yaml.safe_dump(metadata))
    assert stamps(bag) == STAMPS


@pytest.mark.parametrize('mode', ['FILE', 'MESSAGE'])
def test_compressed_bags_without_metadata(tmp_path, mode):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()}, plugin=StoragePlugin.SQLITE3,
                    mode=CompressionMode[mode])
    (bag / 'metadata.yaml').unlink()
    assert stamps(bag) == stamps(storage_file(bag)) == STAMPS


def test_compressed_messages_in_an_mcap_file_alone(tmp_path):
    path = tmp_path / 'bag.mcap'
    messages = [(when, compress(data, 'zstd')) for when, data in images(camera())]
    path.write_bytes(McapWriter([Channel('/cam', messages)]).make())
    assert stamps(path) == STAMPS


@pytest.mark.parametrize('name', ['run#2', 'a?mode=rw', '50%20', 'a b', 'é', "'"])
@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_any_name_of_a_folder(tmp_path, name, plugin):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()}, plugin=plugin)
    assert stamps(bag.rename(tmp_path / name)) == STAMPS


def test_a_storage_format_of_a_plugin_is_named(tmp_path):
    (tmp_path / 'metadata.yaml').write_text(
        'rosbag2_bagfile_information: {relative_file_paths: [a_0.arrow]}')
    with pytest.raises(SourceError, match=r'\(a_0.arrow\) are not .mcap or .db3: .*bag convert'):
        open_source(tmp_path)


# Interrupted and split ---------------------------------------------------------------------------


def interrupted(bag, target, *statements):
    """Copy a bag of sqlite as it lies on the disk after the statements, as a power cut does."""
    file = storage_file(bag)
    database = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    shutil.copytree(bag, target)
    database.close()
    return target


@pytest.mark.parametrize(('end', 'statements'), [
    ('-wal', ['PRAGMA journal_mode = WAL', 'PRAGMA wal_autocheckpoint = 0',
              'INSERT INTO messages SELECT id + 100, topic_id, timestamp + 1000000000, data '
              'FROM messages']),
    ('-journal', ['PRAGMA cache_size = 1', 'BEGIN', 'DELETE FROM messages WHERE id > 2',
                  'UPDATE messages SET data = zeroblob(40000)'])])
@pytest.mark.parametrize('single_file', [False, True])
def test_what_was_recorded_but_not_yet_in_the_file(tmp_path, end, statements, single_file):
    bag = write_bag(tmp_path / 'whole', {'/cam': camera()}, plugin=StoragePlugin.SQLITE3)
    bag = interrupted(bag, tmp_path / 'cut', *statements)
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    assert any(name.endswith(end) and data for name, data in before.items())
    path = next(bag.glob('*.db3')) if single_file else bag
    # The copies in the log have the stamps of the originals, and follow them.
    assert stamps(path) == STAMPS * (2 if end == '-wal' else 1)
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_files_of_a_split_bag_are_read_in_the_order_of_time(tmp_path, plugin):
    bag = tmp_path / 'bag'
    bag.mkdir()
    names = []
    for index, row in enumerate(camera(12)):
        part = write_bag(tmp_path / f'part{index}', {'/cam': [row]}, plugin=plugin)
        names.append(f'bag_{index}{storage_file(part).suffix}')
        shutil.copy(storage_file(part), bag / names[-1])
    # As `ros2 bag reindex` writes it: 0, 1, 10, 11, 2.
    (bag / 'metadata.yaml').write_text(yaml.safe_dump(
        {'rosbag2_bagfile_information': {'relative_file_paths': sorted(names)}}))
    assert stamps(bag) == [START + index * SECOND // 10 for index in range(12)]


@pytest.mark.parametrize('summary', [True, False])
@pytest.mark.parametrize('overlap', [2, 3, 10])
def test_chunks_that_overlap_are_put_in_order(tmp_path, overlap, summary):
    path = tmp_path / 'bag.mcap'
    path.write_bytes(McapWriter(
        [Channel('/cam', images(camera()))], overlap=overlap, summary=summary).make())
    assert stamps(path) == STAMPS


# Hostile -----------------------------------------------------------------------------------------


LARGE = 1 << 30


def refused(path):
    """Read it; return what was said, if it took much less memory than it pretends to hold."""
    tracemalloc.start()
    try:
        with pytest.raises(SourceError) as caught:
            list(open_source(path))
        assert tracemalloc.get_traced_memory()[1] < LARGE * 0.6
    finally:
        tracemalloc.stop()
    return str(caught.value)


@functools.cache
def zeros(compression):
    """Compress a GiB of zeros, piece by piece."""
    if compression == 'zstd':
        packer = zstd.ZstdCompressor()
        begin = b''
    else:
        packer = lz4.frame.LZ4FrameCompressor()
        begin = packer.begin()
    return begin + b''.join(
        packer.compress(bytes(1 << 20)) for _ in range(LARGE >> 20)) + packer.flush()


@pytest.mark.parametrize('summary', [True, False])
@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
@pytest.mark.parametrize('claimed', [LARGE, 2**63, 1000, (1 << 28) - 1])
def test_a_chunk_of_a_few_kb_that_becomes_a_gb(tmp_path, compression, claimed, summary):
    packed = zeros(compression)
    last = record(
        6, struct.pack('<QQQI', START, START, claimed, 0), mcap_text(compression),
        struct.pack('<Q', len(packed)), packed)
    path = tmp_path / 'bag.mcap'
    path.write_bytes(McapWriter(
        [Channel('/cam', images(camera()))], last=last, summary=summary).make())
    text = refused(path)
    assert 'bytes are the most of a message or chunk' in text
    assert text.count(str(path)) == 1


@pytest.mark.parametrize('storage', ['mcap', 'db3'])
def test_a_message_of_a_few_kb_that_becomes_a_gb(tmp_path, storage):
    if storage == 'mcap':
        path = tmp_path / 'bag.mcap'
        path.write_bytes(McapWriter([Channel('/cam', [(START, zeros('zstd'))])]).make())
    else:
        path = write_bag(tmp_path / 'bag', {'/cam': camera(1)}, plugin=StoragePlugin.SQLITE3)
        with sqlite3.connect(storage_file(path)) as database:
            database.execute('UPDATE messages SET data = ?', (zeros('zstd'),))
        database.close()
    assert 'bytes are the most of a message or chunk' in refused(path)


def test_an_image_whose_data_is_longer_than_its_rows(tmp_path):
    """The size of the message is right; of what it holds, the image is a part."""
    rows = camera(3)
    rows[1][1].data = np.zeros(1 << 20, np.uint8)
    source = open_source(write_bag(tmp_path / 'bag', {'/cam': rows}))
    assert len(list(source)) == 2
    assert source.dropped == {'long_data': 1}


@pytest.mark.parametrize('statements', [
    ['ALTER TABLE messages RENAME TO old',
     'CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) '
     'SELECT id, 1 AS topic_id, id AS timestamp, zeroblob(1000000) AS data FROM n'],
    ['ALTER TABLE messages RENAME COLUMN data TO old',
     'ALTER TABLE messages ADD COLUMN data BLOB GENERATED ALWAYS AS (zeroblob(900000000))'],
    ['DROP TABLE messages'],
    ['DROP TABLE topics'],
], ids=['view', 'generated', 'no messages', 'no topics'])
def test_tables_that_make_up_their_rows(tmp_path, statements):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()}, plugin=StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    assert 'it lacks the tables of a bag' in refused(bag)


@pytest.mark.parametrize('value', ['NULL', '5', "'text'", '1.5'])
def test_messages_of_sqlite_that_are_not_bytes(tmp_path, value):
    bag = write_bag(tmp_path / 'bag', {'/cam': camera()}, plugin=StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_file(bag)) as database:
        columns = 'id, topic_id, timestamp'
        database.execute(f'CREATE TABLE loose AS SELECT {columns}, data FROM messages')
        database.execute('DROP TABLE messages')
        database.execute('ALTER TABLE loose RENAME TO messages')
        database.execute(f'UPDATE messages SET data = {value} WHERE id = 3')
    database.close()
    source = open_source(bag)
    assert len(list(source)) == 9
    assert source.dropped == {'decode_failed': 1}


MCAP = McapWriter([Channel('/cam', images(camera(3)))], chunked=2, compression='lz4').make()


@settings(deadline=None, max_examples=300)
@given(
    flips=st.lists(st.tuples(st.integers(0, len(MCAP) - 1), st.integers(1, 255)), max_size=4),
    cut=st.just(len(MCAP)) | st.integers(0, len(MCAP)),
    numbers=st.lists(st.tuples(st.integers(0, len(MCAP) - 8), st.integers(0, 2**64 - 1)),
                     max_size=2),
)
def test_any_damage_to_an_mcap_file_gives_frames_or_a_source_error(
        tmp_path_factory, flips, cut, numbers):
    data = bytearray(MCAP)
    for at, mask in flips:
        data[at] ^= mask
    for at, number in numbers:
        data[at:at + 8] = struct.pack('<Q', number)
    path = tmp_path_factory.getbasetemp() / 'damaged.mcap'
    path.write_bytes(data[:cut])
    try:
        assert len(list(open_source(path))) <= 100
    except SourceError as error:
        assert str(path) in str(error)
